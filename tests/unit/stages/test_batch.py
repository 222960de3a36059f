"""A batch of records to what one transaction writes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.errors import PartitionHalt, RegistryUnreachable
from consumer.events.codecs import Codec
from consumer.events.dead_letter_limits import DeadLetterLimits
from consumer.events.grace import SchemaGrace
from consumer.frames import Events, Outcome, Records
from consumer.kafka.control_records import ControlView, Replayed, encode
from consumer.profiles.store import Changes, Position
from consumer.stages.batch import _foreign_keys
from consumer.stages.copies import Copies
from tests.property.budget import examples
from tests.property.world import Record, World

if TYPE_CHECKING:
    from consumer.events.framing import SchemaId

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "visitor_id", "type": ["null", "string"]},
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "amount", "type": "long"},
    ],
}
OTHER = {**SCHEMA, "fields": [*reversed(SCHEMA["fields"])]}
LACKING = {**SCHEMA, "fields": SCHEMA["fields"][:4]}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "orders": {"aggregate": "count"},
    "revenue": {"aggregate": "sum", "of": "amount"},
    "skus": {"aggregate": "top", "of": "sku", "by": "quantity", "max_keys": 2},
}


def event(number: int = 0, visitor: str | None = "ann", **changes: Any) -> Any:  # noqa: ANN401 - an Avro record
    """Make an event."""
    return {
        "event_id": f"e{number}",
        "visitor_id": visitor,
        "occurred_at": 0,
        "sku": "a",
        "quantity": 1,
        "amount": 5,
        **changes,
    }


@pytest.fixture(scope="module", name="compiled")
def _compiled() -> World:
    return World(ATTRIBUTES, {1: SCHEMA, 2: OTHER, 3: LACKING, 9: SCHEMA})


@pytest.fixture(name="world")
def _world(compiled: World) -> World:
    return compiled.forget()


def outcomes(prepared: Any) -> list[str]:  # noqa: ANN401 - a Prepared
    """Give the words for what each record became."""
    return [Outcome(one).label for one in prepared.verdicts.outcomes.tolist()]


def reasons(prepared: Any) -> dict[int, str]:  # noqa: ANN401 - a Prepared
    """Give each dead letter's reason by row."""
    return {one.row: one.reason for one in prepared.verdicts.dead_letters}


POISON: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "no magic byte": (b"\x01\0\0\0\x01abc", "bad_magic"),
    "half a framing": (b"\0\0\0", "undecodable"),
    "unknown schema": (b"\0\0\0\0\x63abc", "unknown_schema"),
    "negative schema": (b"\0\xff\xff\xff\xffabc", "unknown_schema"),
    "nothing framed": (b"\0\0\0\0\x01", "undecodable"),
}


@pytest.mark.parametrize("kind", POISON)
def test_poison_costs_only_its_own_record(world: World, kind: str) -> None:
    """What is no event is a dead letter with its reason; the rest is folded."""
    value, reason = POISON[kind]
    good = [world.record(event(number)) for number in range(3)]
    prepared = world.feed([good[0], Record(b"ann", value), *good[1:]])
    assert outcomes(prepared) == ["folded", "dead_lettered", "folded", "folded"]
    assert reasons(prepared) == {1: reason}
    assert world.profiles()["ann"]["orders"]["total"] == 3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no visitor": ({"visitor": None}, "missing_visitor"),
    "empty visitor": ({"visitor": ""}, "missing_visitor"),
    "plus": ({"visitor": "a+b"}, "invalid_visitor"),
    "slash": ({"visitor": "a/b"}, "invalid_visitor"),
    "too long": ({"visitor": "ü" * 257}, "invalid_visitor"),
    "empty id": ({"event_id": ""}, "missing_event_id"),
    "huge amount": ({"amount": 10**13 + 1}, "out_of_range"),
    "huge loss": ({"amount": -(10**13) - 1}, "out_of_range"),
    "least long": ({"amount": -(2**63)}, "out_of_range"),
    "year 10000": ({"occurred_at": 253_402_300_800_000}, "out_of_range"),
    "year 0": ({"occurred_at": -62_135_596_800_001}, "out_of_range"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_events_that_cannot_be_counted_are_dead_letters(
    world: World, kind: str
) -> None:
    """An event without an identity, or beyond what can be added, is refused alone."""
    changes, reason = REFUSED[kind]
    good, bad = event(1), event(2, **changes)
    prepared = world.feed([world.record(bad), world.record(good)])
    assert reasons(prepared) == {0: reason}
    assert world.profiles()["ann"]["orders"]["total"] == 1


@pytest.mark.parametrize("millis", [2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_times_that_overflow_stop_nothing(world: World, millis: int) -> None:
    """A time that no calendar holds costs its own record, not the process."""
    bad = world.record(event(1, occurred_at=millis))
    prepared = world.feed([world.record(event(2)), bad, world.record(event(3))])
    assert outcomes(prepared) == ["folded", "dead_lettered", "folded"]


def test_a_number_at_the_limit_is_counted(world: World) -> None:
    """Ten to the power of thirteen is within range."""
    world.feed([world.record(event(1, amount=10**13))])
    assert world.profiles()["ann"]["revenue"]["total"] == 10**13


def test_tombstones_are_filtered(world: World) -> None:
    """A batch of tombstones moves the position and writes no profile."""
    prepared = world.feed([Record(b"ann", None), Record(b"bob", None)])
    assert outcomes(prepared) == ["filtered", "filtered"]
    assert not prepared.outputs[0].profiles
    assert world.partitions[0].position.next_offset == 2
    assert prepared.oldest_event_time is None


def test_a_batch_of_poison_moves_the_position(world: World) -> None:
    """Where nothing can be folded the records are still read."""
    prepared = world.feed([Record(b"ann", b"x"), Record(b"bob", b"")])
    assert outcomes(prepared) == ["dead_lettered", "dead_lettered"]
    assert world.partitions[0].position.next_offset == 2


def test_a_batch_of_repeats_changes_no_profile(world: World) -> None:
    """Where all events are repeats no profile gets a new version."""
    batch = [world.record(event(1)), world.record(event(2))]
    world.feed(batch)
    before = world.values()
    prepared = world.feed(batch)
    assert outcomes(prepared) == ["duplicate", "duplicate"]
    assert world.values() == before
    assert not prepared.outputs[0].profiles


def test_an_empty_batch_writes_nothing(world: World) -> None:
    """No records, no outputs, no halts."""
    prepared = world.feed([])
    assert (len(prepared.records), prepared.outputs, prepared.halts) == (0, {}, {})


def test_a_record_key_that_is_not_the_visitor_leaves_its_partition_out(
    world: World,
) -> None:
    """The partition's records are as if unread, the halt names the first's offset."""
    batch = [
        world.record(event(1), partition=0),
        world.record(event(2, "bob"), partition=1),
        Record(b"eve", world.encode(event(3)), 0),
        Record(None, world.encode(event(4)), 0),
    ]
    prepared = world.feed(batch)
    assert prepared.records.partitions.tolist() == [1]
    assert prepared.halts.keys() == {0}
    assert prepared.halts[0].reason == "key_is_not_visitor"
    assert "partition 0, offset 1" in str(prepared.halts[0])
    assert world.profiles().keys() == {"bob"}
    assert world.partitions[0].position.next_offset == 0


def test_where_every_partition_has_foreign_keys_nothing_is_left(world: World) -> None:
    """A batch of mismatches halts all its partitions and writes nothing."""
    batch = [Record(b"eve", world.encode(event(n)), n) for n in range(2)]
    prepared = world.feed(batch)
    assert (len(prepared.records), prepared.outputs) == (0, {})
    assert prepared.halts.keys() == {0, 1}


def test_a_record_without_a_key_has_not_the_empty_key() -> None:
    """Keys may be empty texts; what has none may lie in any partition."""
    zero = np.zeros(2, np.int64)
    records = Records(zero.astype(np.int32), zero, zero, [b"", None], [b"", b""])
    identity = pl.DataFrame({"key": ["", ""]})
    both = Events(np.arange(2), identity, identity, None)
    assert _foreign_keys(records, both).keys() == {0}
    assert _foreign_keys(records, both.where(np.array([True, False]))) == {}


def test_a_key_is_not_compared_where_there_is_no_event(world: World) -> None:
    """Poison and refused events do not halt a partition by their key."""
    batch = [
        Record(b"eve", b"poison"),
        Record(b"eve", world.encode(event(1, "a+b"))),
        Record(b"eve", None),
        world.record(event(2)),
    ]
    prepared = world.feed(batch)
    assert not prepared.halts
    assert outcomes(prepared) == [
        "dead_lettered",
        "dead_lettered",
        "filtered",
        "folded",
    ]


def test_several_schemas_in_one_batch_keep_partition_order(world: World) -> None:
    """Events of two schemas are deduplicated in the order of their records."""
    batch = [
        Record(b"ann", world.encode(event(1, amount=1), 2)),
        Record(b"ann", world.encode(event(1, amount=2), 1)),
        Record(b"ann", world.encode(event(2, amount=4), 1)),
        Record(b"ann", world.encode(event(2, amount=8), 2)),
    ]
    prepared = world.feed(batch)
    assert outcomes(prepared) == ["folded", "duplicate", "folded", "duplicate"]
    assert world.profiles()["ann"]["revenue"]["total"] == 5


def test_a_schema_without_a_needed_field_is_named(world: World) -> None:
    """Records of a schema that lacks a field are dead letters that name it."""
    old = {k: v for k, v in event(1).items() if k not in {"quantity", "amount"}}
    prepared = world.feed([Record(b"ann", world.encode(old, 3))])
    (letter,) = prepared.verdicts.dead_letters
    assert (letter.reason, letter.schema_id) == ("schema_does_not_fit", 3)
    lacks = "Schema 3 (3.avsc) has no field quantity and has no field amount, but"
    assert letter.sentence.startswith(lacks)


def test_one_visitor_in_two_partitions_has_two_profiles(world: World) -> None:
    """Each partition's store has the profile of its own events."""
    batch = [world.record(event(n), partition=n % 2) for n in range(3)]
    prepared = world.feed(batch)
    assert {n: len(o.profiles) for n, o in prepared.outputs.items()} == {0: 1, 1: 1}
    found = world.codec.decode(world.values()).to_pylist()
    assert [one["source_partition"] for one in found] == [0, 1]
    assert [one["orders"]["total"] for one in found] == [2, 1]


def test_one_id_with_two_payloads_is_a_duplicate_with_a_conflict(world: World) -> None:
    """The first in partition order stays, in the batch and later; a refused is none."""
    poison = event(3, visitor="a+b")
    batch = [
        world.record(one)
        for one in (event(1), event(1), event(1, amount=6), poison, event(3))
    ]
    prepared = world.feed(batch)
    assert outcomes(prepared)[:3] == ["folded", "duplicate", "duplicate"]
    assert prepared.verdicts.conflicts == [2]
    assert outcomes(prepared)[3:] == ["dead_lettered", "folded"]
    later = [event(1, amount=7), event(1), event(3, amount=1), event(4)]
    prepared = world.feed([world.record(one) for one in later])
    assert outcomes(prepared) == ["duplicate"] * 3 + ["folded"]
    assert prepared.verdicts.conflicts == [0, 2]
    assert world.profiles()["ann"]["revenue"]["total"] == 15


def test_replayed_offsets_are_duplicates(world: World) -> None:
    """What a profile has folded is skipped, even where its ids are not known."""
    batch = [world.record(event(n)) for n in range(3)]
    world.feed(batch)
    partition = world.partitions[0]
    assert partition.seen is not None
    partition.seen.forget(10**9)
    replay = [
        Record(one.key, one.value, offset=offset) for offset, one in enumerate(batch)
    ]
    fresh = world.record(event(7))
    prepared = world.feed([*replay[1:], Record(fresh.key, fresh.value, offset=3)])
    assert outcomes(prepared) == ["duplicate", "duplicate", "folded"]
    assert world.profiles()["ann"]["orders"]["total"] == 4
    assert world.profiles()["ann"]["source_offset"] == 3


def test_without_deduplication_repeats_count() -> None:
    """`deduplicate = 0` folds every record and keeps no ids."""
    world = World({"orders": {"aggregate": "count"}}, {1: SCHEMA}, deduplicate=0)
    record = world.record(event(1))
    prepared = world.feed([record, record])
    world.feed([record])
    assert outcomes(prepared) == ["folded", "folded"]
    assert world.profiles()["ann"]["orders"]["total"] == 3
    assert [key for key, _ in prepared.outputs[0].state] == [b"position"]


def test_a_configuration_of_plain_counts_counts_each_event() -> None:
    """Constants are evaluated on every event, also where some are refused."""
    world = World({"orders": {"aggregate": "count"}}, {1: SCHEMA})
    events = [event(1), event(2, None), event(1), event(3, "bob"), event(4)]
    prepared = world.feed([world.record(one) for one in events])
    assert outcomes(prepared).count("folded") == 3
    found = {k: v["orders"]["total"] for k, v in world.profiles().items()}
    assert found == {"ann": 2, "bob": 1}


def test_a_profile_too_large_keeps_what_is_stored() -> None:
    """New events of a visitor whose record would be too large are dead letters."""
    attributes = {"skus": {"aggregate": "distinct", "of": "sku"}}
    world = World(attributes, {1: SCHEMA}, largest_record=200)
    world.feed([world.record(event(1, sku="s" * 50))])
    stored = world.values()
    big, small = event(2, sku="t" * 200), event(3, "bob", sku="u")
    prepared = world.feed([world.record(big), world.record(small)])
    assert reasons(prepared) == {0: "profile_too_large"}
    assert stored[0] in world.values()
    again = world.feed([world.record({**big, "sku": "v"})])
    assert outcomes(again) == ["folded"]


@pytest.mark.parametrize("cuts", [[], [1], [2], [3], [1, 2, 3, 4]])
def test_events_before_the_one_that_does_not_fit_are_folded(cuts: list[int]) -> None:
    """Of a profile that grows too large only the events from there on are refused."""
    attributes = {"skus": {"aggregate": "distinct", "of": "sku"}}
    world = World(attributes, {1: SCHEMA}, largest_record=200)
    skus = ["a" * 60, "b" * 40, "c" * 80, "d" * 90]
    batch = [world.record(event(n, sku=sku)) for n, sku in enumerate(skus)]
    batch.insert(1, world.record(event(9, "bob", sku="e" * 90)))
    found = []
    bounds = [0, *cuts, len(batch)]
    for begin, end in pairwise(bounds):
        prepared = world.feed(batch[begin:end])
        found += outcomes(prepared)
        assert set(reasons(prepared).values()) <= {"profile_too_large"}
    assert found == ["folded", "folded", "folded", "dead_lettered", "dead_lettered"]
    assert len(world.profiles()["ann"]["skus"]) == 2


def test_an_expression_that_fails_costs_only_its_own_record() -> None:
    """A cast that fails on one event makes that event a dead letter."""
    attributes = {"sum": {"aggregate": "sum", "of": "CAST(sku AS BIGINT)"}}
    world = World(attributes, {1: SCHEMA})
    skus = ["1", "2", "x", "4", "y"]
    batch = [world.record(event(n, sku=sku)) for n, sku in enumerate(skus)]
    prepared = world.feed(batch)
    assert reasons(prepared) == {2: "expression_failed", 4: "expression_failed"}
    assert world.profiles()["ann"]["sum"]["total"] == 7


def test_a_total_that_fits_no_long_halts() -> None:
    """A sum never wraps around: the partition halts and nothing is written."""
    world = World({"sum": {"aggregate": "sum", "of": "amount"}}, {1: SCHEMA})
    world.feed([world.record(event(0, amount=10**13))])
    (value,) = world.values()
    ((key, _),) = world.stores[0].items()
    batch = world.codec.decode([value])
    state = [{"total": 2**63 - 10, "weight": 1}]
    place = batch.schema.get_field_index("sum")
    full = batch.set_column(place, "sum", pa.array(state, batch.schema.types[place]))
    changes = Changes(profiles=[(key, world.codec.encode(full)[0])])
    world.partitions[0].store.commit(changes, now=0.0)
    with pytest.raises(PartitionHalt) as caught:
        world.feed([world.record(event(1, amount=10))])
    assert caught.value.reason == "overflow"
    world.feed([world.record(event(2, amount=9))])
    assert world.profiles()["ann"]["sum"]["total"] == 2**63 - 1


STREAMS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from("abcd"),
        st.integers(-2, 2),
        st.integers(0, 12),
    ),
    max_size=16,
)


def sequential(stream: list[tuple[str, str, int, int]]) -> list[str]:
    """Say what each event becomes, one after the other, with two keys a visitor."""
    seen: set[int] = set()
    held: dict[str, dict[str, int]] = {"ann": {}, "bob": {}}
    words = []
    for visitor, sku, quantity, number in stream:
        if number in seen:
            words.append("duplicate")
            continue
        grown = dict(held[visitor])
        grown[sku] = grown.get(sku, 0) + quantity
        if not grown[sku]:
            del grown[sku]
        if len(grown) > 2:
            words.append("dead_lettered")
            continue
        held[visitor] = grown
        seen.add(number)
        words.append("folded")
    return words


FULL = [("ann", "a", 1, 0), ("ann", "b", 1, 1), ("ann", "c", 1, 2)]
GONE_IN_THE_END = [*FULL, ("ann", "a", -1, 3)]
REPEAT_OF_A_REFUSED = [*FULL, ("ann", "a", -1, 2), ("ann", "d", 1, 3)]


@examples(60)
@example(stream=GONE_IN_THE_END, cuts=[])
@example(stream=REPEAT_OF_A_REFUSED, cuts=[])
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 16), max_size=3))
def test_max_keys_refuses_what_a_walk_would_in_any_split(
    compiled: World, stream: list[tuple[str, str, int, int]], cuts: list[int]
) -> None:
    """The events refused for too many keys do not depend on the batches."""
    world = compiled.forget()
    batch = [
        world.record(event(number, visitor, sku=sku, quantity=quantity))
        for visitor, sku, quantity, number in stream
    ]
    found = []
    bounds = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    for start, end in pairwise(bounds):
        prepared = world.feed(batch[start:end])
        found += outcomes(prepared)
        assert set(reasons(prepared).values()) <= {"too_many_keys"}
    assert found == sequential(stream)


@examples(40)
@given(data=st.data())
def test_every_record_ends_as_exactly_one_outcome(
    compiled: World, data: st.DataObject
) -> None:
    """Outcomes add up to the records, and each dead letter has one reason."""
    world = compiled.forget()
    good = [
        world.record(event(number, visitor), partition=number % 2)
        for number, visitor in enumerate(["ann", "bob", None, "a/b", "ann", "eve"])
    ]
    bad = [Record(b"k", value) for value, _ in POISON.values()]
    pool = [*good, *bad, Record(b"ann", None)]
    for _ in range(2):
        batch = data.draw(st.lists(st.sampled_from(pool), max_size=12))
        prepared = world.feed(batch)
        counts = prepared.verdicts.counts()
        assert sum(counts.values()) == len(batch)
        letters = [one.row for one in prepared.verdicts.dead_letters]
        assert len(letters) == len(set(letters)) == counts[Outcome.DEAD_LETTERED]
        assert all(
            prepared.verdicts.outcomes[row] == Outcome.DEAD_LETTERED for row in letters
        )


ITEMS = {"from": "items"}


def test_attributes_over_line_items_alone_are_folded() -> None:
    """Refused and repeated events cost nobody else, with no column of events read."""
    item = {"type": "record", "name": "Item", "fields": [{"name": "q", "type": "long"}]}
    items = {"name": "items", "type": {"type": "array", "items": item}}
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], items]}
    world = World({"units": {"aggregate": "sum", "of": "q", **ITEMS}}, {1: schema})
    bought = [{"q": 2}, {"q": 3}]
    prepared = world.feed(
        [
            world.record(event(1, items=bought)),
            world.record(event(2, None, items=bought)),
            world.record(event(1, items=bought)),
            world.record(event(3, items=[])),
        ]
    )
    assert outcomes(prepared) == ["folded", "dead_lettered", "duplicate", "folded"]
    assert world.rows() == {"ann": {"units": "5"}}


@pytest.mark.parametrize("of", ["amount / 3", "amount / 7.0", "amount * 0.1 + -0.0"])
def test_arithmetic_does_not_depend_on_the_batch(of: str) -> None:
    """A float has the same bits whether its event came alone or with others."""
    items = [{"name": "q", "type": "long"}]
    nested = {"type": "record", "name": "Item", "fields": items}
    listed = {"name": "items", "type": {"type": "array", "items": nested}}
    world = World(
        {
            "x": {"aggregate": "last", "of": of},
            "y": {"aggregate": "last", "of": of, **ITEMS},
            "z": {"aggregate": "last", "of": f"event.{of}", **ITEMS},
            "q": {"aggregate": "last", "of": of.replace("amount", "q"), **ITEMS},
        },
        {1: {**SCHEMA, "fields": [*SCHEMA["fields"], listed]}},
    )
    visitors = [f"v{number}" for number in range(40)]
    records = [
        world.record(event(number, visitor, amount=number, items=[{"q": number}] * 2))
        for number, visitor in enumerate(visitors)
    ]
    world.feed(records)
    together = world.content()
    world.forget()
    for record in records:
        world.feed([record])
    assert world.content() == together


def test_a_return_is_subtracted_from_count_mean_and_top() -> None:
    """A weight of -1 takes an earlier event out again, whatever came between."""
    sign = "CASE WHEN sku = 'back' THEN -1 ELSE 1 END"
    world = World(
        {
            "orders": {"aggregate": "count", "by": sign},
            "average": {"aggregate": "mean", "of": "amount", "by": sign},
        },
        {1: SCHEMA, 9: SCHEMA},
    )
    world.feed([world.record(event(1, amount=10)), world.record(event(2, amount=4))])
    world.feed([world.record(event(3, amount=10, sku="back"))])
    profile = world.profiles()["ann"]
    assert profile["orders"] == {"total": 1, "weight": 3}
    assert profile["average"] == {"total": 4, "weight": 1}


UNUSABLE: dict[str, dict[str, Any]] = {
    "contains R in itself": {
        "type": "record",
        "name": "R",
        "fields": [{"name": "next", "type": ["null", "R"]}],
    },
    "is not valid Avro": {"type": "record", "fields": []},
}


class Spoiled(World):
    """Schema 2 is no longer what its records were written with."""

    def spoil(self, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        """Put an unusable schema in its place."""
        text, sound = json.dumps(UNUSABLE[what]), self.schemas.codec

        def codec(schema_id: SchemaId) -> Codec | None:
            return Codec(text) if schema_id == 2 else sound(schema_id)

        monkeypatch.setattr(self.schemas, "codec", codec)


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_schema_that_has_no_columns_costs_its_records_alone(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are dead letters that name it and what to do; the log says it once."""
    world = Spoiled(ATTRIBUTES, {1: SCHEMA, 2: SCHEMA, 9: SCHEMA})
    world.spoil(monkeypatch, what)
    for number in range(2):
        sound = Record(b"ann", world.encode(event(number), 1))
        prepared = world.feed([sound, Record(b"ann", world.encode(event(7), 2))])
        assert outcomes(prepared) == ["folded", "dead_lettered"]
        (letter,) = prepared.verdicts.dead_letters
        assert (letter.reason, letter.schema_id) == ("schema_unusable", 2)
        assert letter.sentence.startswith("Schema 2 (2.avsc) cannot be read: ")
        assert what in letter.sentence
        assert letter.sentence.endswith("Then replay the dead letters.")
    assert capsys.readouterr().out.count("a schema cannot be used") == 1


def test_many_records_of_such_a_schema_pause_the_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limits on dead letters hold for them as for any others."""
    limits = DeadLetterLimits(in_a_row=2, ratio=1.0, window=100)
    world = Spoiled(ATTRIBUTES, {1: SCHEMA, 2: SCHEMA, 9: SCHEMA}, limits=limits)
    world.spoil(monkeypatch, "is not valid Avro")
    batch = [Record(b"ann", world.encode(event(number), 2)) for number in range(4)]
    prepared = world.feed(batch)
    assert outcomes(prepared) == ["dead_lettered"] * 2
    assert prepared.halts[0].reason == "too_many_dead_letters"
    assert "schema_unusable" in str(prepared.halts[0])


def test_a_column_of_another_type_is_not_read_as_if_it_were_the_same(
    world: World,
) -> None:
    """Seconds where milliseconds were checked would give other dates in silence."""
    seconds = {**SCHEMA["fields"][2], "type": "long"}
    other = {
        **SCHEMA,
        "fields": [*SCHEMA["fields"][:2], seconds, *SCHEMA["fields"][3:]],
    }
    changed = World(ATTRIBUTES, {1: SCHEMA, 4: other, 9: SCHEMA})
    record = Record(b"ann", changed.encode(event(), 4))
    prepared = changed.feed([record])
    (letter,) = prepared.verdicts.dead_letters
    assert letter.reason == "schema_does_not_fit"
    assert "occurred_at" in letter.sentence


def test_the_key_may_be_an_expression_over_the_event() -> None:
    """With `key_expression` the key need not be the visitor, only what it says."""
    world = World(
        ATTRIBUTES,
        {1: SCHEMA, 9: SCHEMA},
        key_expression="CONCAT('shop:', visitor_id)",
    )
    good = Record(b"shop:ann", world.encode(event()))
    assert outcomes(world.feed([good])) == ["folded"]
    prepared = world.feed([Record(b"ann", world.encode(event(2)))])
    assert prepared.halts[0].reason == "key_is_not_visitor"


BROKEN = Record(b"ann", b"\0\0\0\0\x01")


def limited() -> World:
    """Make a world in which three dead letters in a row are the most."""
    limits = DeadLetterLimits(in_a_row=3, ratio=1.0, window=100)
    return World(ATTRIBUTES, {1: SCHEMA}, limits=limits)


def test_too_many_dead_letters_halt_their_partition_alone() -> None:
    """What lies before is written, also as evidence; other partitions go on."""
    world = limited()
    other = [world.record(event(9, "bob"), partition=1) for _ in range(2)]
    good = world.record(event(1))
    prepared = world.feed([good, *[BROKEN] * 5, *other])
    assert list(prepared.halts) == [0]
    assert prepared.halts[0].reason == "too_many_dead_letters"
    assert "3 dead letters in a row" in str(prepared.halts[0])
    assert "offset 4" in str(prepared.halts[0])
    assert outcomes(prepared) == ["folded", *["dead_lettered"] * 3, *OTHERS]
    assert world.partitions[0].position.next_offset == 4
    assert world.partitions[1].position.next_offset == 2


OTHERS = ["folded", "duplicate"]


def test_a_restart_does_not_let_as_many_pass_again() -> None:
    """The count is part of the position, and a sound record ends it."""
    world = limited()
    world.feed([BROKEN] * 3)
    stored = world.partitions[0].position
    assert Position.from_json(stored.to_json()) == stored
    again = world.prepare([BROKEN])
    assert list(again.halts) == [0]
    assert len(again.records) == 0
    world.feed([world.record(event(1))])
    assert not world.feed([BROKEN] * 3).halts


def test_a_position_without_a_count_is_read() -> None:
    """What a release before the limits wrote is a position all the same."""
    old = b'{"topic_id": "t", "next_offset": 7, "stream_time": 5, "generation": 1}'
    assert Position.from_json(old) == Position("t", 7, 5, 1)


def test_a_record_whose_schema_may_come_stops_its_partition_there() -> None:
    """What lies before is written, what lies behind stays; the others flow."""
    world = World(ATTRIBUTES, {1: SCHEMA}, grace=SchemaGrace(300.0, lambda: 2.0))
    other = world.record(event(9, "bob"), partition=1)
    unknown = Record(b"ann", b"\0\0\0\0\x63abc")
    good = [world.record(event(number)) for number in range(3)]
    prepared = world.feed([good[0], unknown, other, *good[1:]])
    assert prepared.waits == {0: "The registry does not know schema 99."}
    assert outcomes(prepared) == ["folded", "folded"]
    assert world.partitions[0].position.next_offset == 1
    assert world.partitions[1].position.next_offset == 1


def test_a_registry_that_is_away_stops_only_who_needs_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of known schemas are folded; the others wait and are no dead letters."""
    known = world.schemas.codec(1)

    def codec(schema_id: int) -> Codec | None:
        if schema_id == 1:
            return known
        raise RegistryUnreachable("The registry is away.", "Wait.")

    monkeypatch.setattr(world.schemas, "codec", codec)
    good = world.record(event(1))
    late = Record(b"bob", world.encode(event(2, "bob"), 2), partition=1)
    prepared = world.feed([good, late])
    assert prepared.waits == {1: "The registry is away. Wait."}
    assert outcomes(prepared) == ["folded"]
    assert 1 not in prepared.outputs


TOPIC = "topic"  # the id of `World`'s topic


def copies(origins: list[int], written: list[int], begin: int = 0) -> Copies | None:
    """Give the copies that somebody has to know who begins to read at an offset."""
    note = Replayed(TOPIC, 0, written[0], 0.0, origins, written)
    view = ControlView().with_records([(note.key.encode(), encode(note))], 1)
    return Copies.of(view, TOPIC, {0: begin})


def test_a_replay_counts_once_whoever_reads_the_topic(world: World) -> None:
    """Who refused the original counts the copy; who folds the original does not."""
    good, broken = world.record(event(1)), Record(b"ann", b"\0\0\0\0\x01")
    mended = world.record(event(2))
    world.feed([good, broken, mended])
    assert world.profiles()["ann"]["orders"]["total"] == 2
    anew = World(ATTRIBUTES, {1: SCHEMA}, deduplicate=0, copies=copies([1], [2]))
    prepared = anew.feed([good, world.record(event(2)), mended, Record(b"ann", None)])
    assert outcomes(prepared) == ["folded", "folded", "duplicate", "filtered"]
    assert anew.profiles()["ann"]["orders"]["total"] == 2


def test_a_copy_of_what_lies_before_the_beginning_counts() -> None:
    """Who never saw the original has only the copy; without copies nothing is done."""
    assert copies([1], [2], begin=2) is None
    found = copies([1, 4], [5, 6], begin=2)
    assert found is not None
    assert found.offsets[0].tolist() == [6]


def test_a_copy_that_is_broken_still_is_no_second_dead_letter() -> None:
    """Its original has become one already."""
    anew = World(ATTRIBUTES, {1: SCHEMA}, copies=copies([0], [1]))
    broken = Record(b"ann", b"\0\0\0\0\x01")
    prepared = anew.feed([broken, broken])
    assert outcomes(prepared) == ["dead_lettered", "duplicate"]
    assert len(prepared.verdicts.dead_letters) == 1


def test_a_visitor_of_many_rows_and_few_keys_is_not_walked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are counted, not rows: the exact way is for who may have too many."""

    def walked(*_: object) -> None:
        pytest.fail("walked")

    monkeypatch.setattr("consumer.stages.batch.ever_overfull", walked)
    prepared = world.feed(
        [
            world.record(event(number, "ann", sku="ab"[number % 2]))
            for number in range(9)
        ]
    )
    assert outcomes(prepared) == ["folded"] * 9
