"""Profiles are a pure function of the distinct events, for every aggregate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property import purchases
from tests.property.model import MODELS, Event, Model, expected
from tests.property.world import DAY, World

PRICES = {name for name, model in MODELS.items() if model.settings.get("of") == "price"}
UNPRICED = {name: model for name, model in MODELS.items() if name not in PRICES}


def world(models: dict[str, Model], schema: dict[str, Any], **options: Any) -> World:  # noqa: ANN401 - World's own
    """Make a world with the attributes of the models."""
    attributes = {name: model.settings for name, model in models.items()}
    return World(attributes, {1: schema}, **options)


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
            assert (name, rows[visitor][name]) == (name, models[name].shown(state))


SCHEMAS = {
    "fast": (UNPRICED, purchases.SCHEMA),
    "safe": (MODELS, purchases.PRICED),
}
"""With decimals the safe codec serves the schema, without them the fast one."""


@pytest.mark.parametrize("codec", SCHEMAS)
@given(data=st.data())
def test_profiles_do_not_depend_on_splits_order_or_repetition(
    codec: str, data: st.DataObject
) -> None:
    """Any split, order and repetition of the same events gives the same profiles."""
    models, schema = SCHEMAS[codec]
    events = data.draw(purchases.events())
    orders = st.permutations(events)
    repeated = st.lists(st.sampled_from(events), max_size=6) if events else st.just([])
    contents = []
    for _ in range(2):
        stream = data.draw(orders) + data.draw(repeated)
        stream = data.draw(st.permutations(stream))
        made = world(models, schema)
        assert made.avro_codec.fast is (codec == "fast")
        play(made, stream, data.draw(purchases.splits(len(stream))))
        check(made, models, stream)
        contents.append(made.content())
    assert contents[0] == contents[1]
