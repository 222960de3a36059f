"""A rebuild, joined while purchases come, gives what a fold of everything would."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given
from hypothesis import strategies as st

from consumer.config import Settings
from consumer.profiles.fold import packed_hashes
from consumer.profiles.store import Tails
from consumer.stages.joining import Joining
from consumer.stages.rebuilt import partial_work
from tests.property import purchases
from tests.property.budget import examples
from tests.property.memory_store import MemoryStore
from tests.property.test_profiles import UNPRICED, check, compiled, partition, play
from tests.property.world import Record, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.profiles.store import PartitionStore
    from consumer.stages.batch import BatchWork

GENERATION = 2
FIRST = tuple(sorted(UNPRICED))[::3]
OTHER_TYPE = {"aggregate": "first", "of": "store"}
NAMES = sorted(UNPRICED)
CONFIGURED = Settings.model_validate(
    {
        "purchases": {"topic": "p"},
        "target": {"client": "c"},
        "attributes": {name: UNPRICED[name].settings for name in NAMES},
    }
)
# As the worlds have it: an event's time is held against no record's.
SETTINGS = CONFIGURED.model_copy(
    update={"purchases": CONFIGURED.purchases.model_copy(update={"max_ahead": None})}
)
REBUILT = [frozenset(part) for part in (NAMES[:1], NAMES[3::4], NAMES[::2], NAMES)]


@functools.cache
def before(rebuilt: frozenset[str]) -> World:
    """Make the world as it was: the rebuilt attributes were something else."""
    attributes = {
        name: {"aggregate": "count"} if name in FIRST else OTHER_TYPE
        for name in rebuilt
    }
    kept = {n: m.settings for n, m in UNPRICED.items() if n not in rebuilt}
    return World(kept | attributes, {1: purchases.SCHEMA})


def computed(
    new: World, names: Sequence[str], records: list[Record], batches: list[slice]
) -> tuple[World, BatchWork, bytes]:
    """Fold the rebuilt attributes alone, by the rebuild's work."""
    work, codec, nothing = partial_work(SETTINGS, new.plan, new.decoder, names)
    beside = World.__new__(World)
    beside.__dict__.update(new.__dict__)
    beside.work, beside.codec = work, codec
    beside.forget().today = new.today
    for batch in batches:
        beside.feed(records[batch])
    beside.values()  # flushes
    return beside, work, nothing


def take_over(
    old: World, new: World, beside: World, nothing: bytes, rebuilt: frozenset[str]
) -> None:
    """Let the new world go on with the old one's profiles, the rebuilt ones beside."""
    new.forget().today = old.today
    new.codec.learn({old.codec.current.schema_id: old.codec.current.text})
    since = {
        a.name: GENERATION if a.name in rebuilt else 1 for a in new.plan.attributes
    }
    new.codec.begin(GENERATION, since)
    new.work.begin(GENERATION)
    for number, store in old.stores.items():
        new.open(number, store)
        new.partitions[number].joining = Joining(
            cast("PartitionStore", beside.stores.get(number, MemoryStore())),
            beside.codec,
            rebuild="r",
            generation=GENERATION,
            names=sorted(rebuilt),
            nothing=nothing,
            live=store.count(),
        )


def walk(new: World, number: int, most: int) -> bool:
    """Join some more profiles and commit them; False at the end."""
    one = new.partitions[number]
    output = new.work.join(one, most)
    if output is None:
        one.joining = None
        return False
    changes = output.changes
    assert len(output.profiles) == len(changes.profiles)
    one.store.commit(changes, now=0.0)
    return True


@examples(15)
@given(data=st.data())
def test_joined_in_any_order_profiles_equal_a_fold_of_everything(
    data: st.DataObject,
) -> None:
    """Wherever it was taken over, and whoever came first: the fold or the walk.

    The carried attributes and the rebuilt ones equal the model; versions rise by one
    with every write.
    """
    rebuilt = data.draw(st.sampled_from(REBUILT))
    stream = data.draw(st.permutations(data.draw(purchases.events())))
    repeated = st.lists(st.sampled_from(stream), max_size=6) if stream else st.just([])
    stream = data.draw(st.permutations(stream + data.draw(repeated)))
    cut = data.draw(st.integers(0, len(stream)))
    old, new = before(rebuilt).forget(), compiled("fast").forget()
    old.today = new.today = data.draw(st.integers(-2, 3))
    play(old, stream[:cut], data.draw(purchases.splits(cut)))
    old.values()  # flushes
    records = [new.record(event, partition=partition(event)) for event in stream]
    splits = data.draw(purchases.splits(cut))
    beside, _, nothing = computed(new, sorted(rebuilt), records[:cut], splits)

    take_over(old, new, beside, nothing, rebuilt)
    rest = records[cut:]
    for batch in data.draw(purchases.splits(len(rest))):
        new.feed(rest[batch])
        for number in sorted(new.partitions):
            if new.partitions[number].joining is not None and data.draw(st.booleans()):
                walk(new, number, data.draw(st.integers(1, 3)))
    for number in sorted(new.partitions):
        while new.partitions[number].joining is not None:
            walk(new, number, 2)
    try:
        check(new, UNPRICED, stream)
        joined = [one for one in new.profiles().values() if one["version"] > 1]
        assert all(one["generation"] == GENERATION for one in new.profiles().values())
        assert len(joined) >= sum(store.count() > 0 for store in old.stores.values())
    finally:
        new.codec.begin(0, {})
        new.work.begin(0)


def test_who_the_rebuild_alone_knows_gets_a_profile() -> None:
    """One without a stored profile begins with version 1; one erased stays away."""
    new = compiled("fast").forget()
    (first,) = sorted(UNPRICED)[:1]
    records = [new.record(one) for one in _some()]
    beside, _, nothing = computed(new, [first], records, [slice(None)])
    new.forget()
    new.codec.begin(GENERATION, {a.name: 1 for a in new.plan.attributes})
    new.work.begin(GENERATION)
    try:
        new.open(0, MemoryStore())
        (gone,) = packed_hashes([purchases.VISITORS[0].encode()])
        new.partitions[0].suppressed = {gone: 1}
        new.partitions[0].joining = Joining(
            cast("PartitionStore", beside.stores[0]),
            beside.codec,
            rebuild="r",
            generation=GENERATION,
            names=[first],
            nothing=nothing,
            live=0,
        )
        while walk(new, 0, 1):
            pass
        found = new.profiles()
        assert found.keys() == set(purchases.VISITORS[1:])
        assert {one["version"] for one in found.values()} == {1}
        expected = beside.profiles()
        assert all(one[first] == expected[v][first] for v, one in found.items())
        assert new.stores[0].tails == Tails()
    finally:
        new.codec.begin(0, {})
        new.work.begin(0)


def _some() -> list[dict[str, Any]]:
    common: dict[str, Any] = {"occurred_at": purchases.EPOCH, "kind": "SALE"}
    common |= {"store": "A", "note": None, "amount": 1, "ratio": None, "flag": None}
    common |= {"day": None, "items": []}
    return [
        {**common, "event_id": visitor[:1], "visitor_id": visitor}
        for visitor in purchases.VISITORS
    ]


def test_the_first_windows_end_with_the_day_on_which_they_are_joined() -> None:
    """Until then profiles were as of no day, which everything is within a window of."""
    rebuilt = frozenset(NAMES)
    old, new = before(rebuilt).forget(), compiled("fast").forget()
    old.today = new.today = 3
    event: dict[str, Any] = dict.fromkeys(
        ("note", "amount", "ratio", "flag", "day", "price")
    )
    event |= {"event_id": "1", "visitor_id": "ann", "occurred_at": purchases.EPOCH}
    event |= {"kind": "SALE", "store": "", "items": []}
    play(old, [event], [slice(0, 1)])
    old.values()  # flushes
    records = [new.record(event, partition=partition(event))]
    beside, _, nothing = computed(new, NAMES, records, [slice(0, 1)])
    take_over(old, new, beside, nothing, rebuilt)
    for number in sorted(new.partitions):
        while new.partitions[number].joining is not None:
            walk(new, number, 2)
    assert new.profiles()["ann"]["as_of_day"] == 3
    assert new.rows()["ann"]["days_orders"] == "0"
