"""Profiles are a pure function of the distinct events, for every aggregate."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.stream_time import ENOUGH
from tests.property import purchases
from tests.property.budget import examples
from tests.property.model import MODELS, Event, Model, expected
from tests.property.world import DAY, World

PRICES = {name for name, model in MODELS.items() if model.settings.get("of") == "price"}
UNPRICED = {name: model for name, model in MODELS.items() if name not in PRICES}


@functools.cache
def compiled(codec: str) -> World:
    """Make a world with the attributes of the models; compiled once."""
    models, schema = SCHEMAS[codec]
    attributes = {name: model.settings for name, model in models.items()}
    made = World(attributes, {1: schema})
    assert made.events_codec.fast
    made.events_codec.fast = codec == "fast"
    return made


def partition(event: Event) -> int:
    """Give a visitor's partition."""
    return purchases.VISITORS.index(event["visitor_id"]) % 2


def play(made: World, stream: list[Event], batches: list[slice]) -> None:
    """Feed a stream of events in batches."""
    records = [made.record(event, partition=partition(event)) for event in stream]
    for batch in batches:
        made.feed(records[batch])


def check(made: World, models: dict[str, Model], stream: list[Event]) -> None:
    """Compare states and rendered rows with the model."""
    states = expected(models, stream)
    found = made.profiles()
    rows = made.rows()
    assert found.keys() == states.keys() == rows.keys()
    for visitor, attributes in states.items():
        for name, state in attributes.items():
            assert (name, found[visitor][name]) == (name, state)
            shown = models[name].shown(state, made.today)
            assert (name, rows[visitor][name]) == (name, shown)


SCHEMAS = {
    "fast": (UNPRICED, purchases.SCHEMA),
    "safe": (MODELS, purchases.PRICED),
}
"""The safe codec reads the one although the fast one would serve."""


@pytest.mark.parametrize("codec", SCHEMAS)
@examples(40)
@given(data=st.data())
def test_profiles_do_not_depend_on_splits_order_or_repetition(
    codec: str, data: st.DataObject
) -> None:
    """Any split, order and repetition of the same events gives the same profiles."""
    models, _ = SCHEMAS[codec]
    events = data.draw(purchases.events())
    orders = st.permutations(events)
    repeated = st.lists(st.sampled_from(events), max_size=6) if events else st.just([])
    contents = []
    today = data.draw(st.integers(-2, 3))
    for _ in range(2):
        stream = data.draw(orders) + data.draw(repeated)
        stream = data.draw(st.permutations(stream))
        made = compiled(codec).forget()
        made.today = today
        play(made, stream, data.draw(purchases.splits(len(stream))))
        check(made, models, stream)
        contents.append(made.content())
    assert contents[0] == contents[1]


def test_of_one_id_with_two_payloads_the_first_in_partition_order_wins() -> None:
    """Two different events with one id count as the first of them, in any split."""
    models, _ = SCHEMAS["fast"]
    first = {**EVENT, "amount": 1, "store": "A"}
    second = {**EVENT, "amount": 2, "store": "B"}
    for batches in ([slice(0, 2)], [slice(0, 1), slice(1, 2)]):
        made = compiled("fast").forget()
        play(made, [first, second], batches)
        check(made, models, [first])


def test_beyond_the_horizon_a_repeat_counts_again() -> None:
    """A repeat more than the horizon behind its first is another event.

    Other records say what time it is: a single one that leads is doubted.
    """
    made = compiled("fast").forget()
    day = int(DAY * 1000)
    for timestamp, counted in ((0, 1), (day, 1), (day + day // 8, 2), (2 * day, 2)):
        others = [
            {**EVENT, "event_id": f"{timestamp}-{number}", "visitor_id": "bob"}
            for number in range(ENOUGH)
        ]
        made.feed([made.record(one, timestamp=timestamp) for one in [*others, EVENT]])
        assert made.profiles()["ann"]["events"]["total"] == counted


EVENT: Event = {
    "event_id": "e",
    "visitor_id": "ann",
    "occurred_at": purchases.EPOCH,
    "kind": "SALE",
    "store": "",
    "note": None,
    "amount": None,
    "ratio": None,
    "flag": None,
    "day": None,
    "items": [],
}
