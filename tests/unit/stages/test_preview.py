"""`preview` tells what the service would do, by the service's own means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pytest

from consumer.config import Settings
from consumer.events.schemas import SchemaFolder
from consumer.frames import Records
from consumer.plan.compile import compile_plan
from consumer.stages.preview import HALTED, Preview, preview
from tests.property.world import Record, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
        {"name": "store", "type": ["null", "string"]},
        {"name": "amount", "type": "long"},
    ],
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "orders": {"aggregate": "count"},
    "revenue": {"aggregate": "sum", "of": "amount"},
    "store": {"aggregate": "last", "of": "store"},
}


def event(
    number: int, visitor: str | None, store: str | None = "Łódź, 7", amount: int = 5
) -> dict[str, Any]:
    """Make an event."""
    return {
        "event_id": f"e{number}",
        "visitor_id": visitor,
        "occurred_at": number,
        "store": store,
        "amount": amount,
    }


PRICE = "CAST(amount AS DECIMAL(9, 2))"


def look(
    folder: Path,
    batch: Sequence[Record],
    attributes: dict[str, dict[str, Any]] = ATTRIBUTES,
    **more: str,
) -> Preview:
    """Preview a batch, with offsets that count up in each partition."""
    (folder / "1.avsc").write_text(json.dumps(SCHEMA), encoding="utf-8")
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases", **more},
            "target": {"client": "acme"},
            "attributes": attributes,
        }
    )
    schemas = SchemaFolder(folder)
    plan = compile_plan(settings, schemas.newest()[1].sample_frame())
    records = Records(
        np.array([one.partition for one in batch], np.int32),
        np.arange(len(batch), dtype=np.int64),
        np.array([one.timestamp for one in batch], np.int64),
        [one.key for one in batch],
        [one.value for one in batch],
    )
    return preview(settings, plan, schemas, records, largest_record=1_000_000)


@pytest.fixture(scope="module", name="world")
def _world() -> World:
    return World(ATTRIBUTES, {1: SCHEMA})


def test_profiles_and_rows_are_those_of_the_service(
    world: World, tmp_path: Path
) -> None:
    """Attributes equal what a fed store renders, and so do the lines of the file."""
    batch = [world.record(event(n, f"v{n % 3}", amount=n)) for n in range(10)]
    world.forget().feed(batch)
    found = look(tmp_path, batch)
    assert {one.visitor: one.attributes for one in found.profiles} == world.rows()
    assert found.header == "batch=thirdPartyId,orders,revenue,store"
    for one in found.profiles:
        assert one.line is not None
        cells = [unquote(cell) for cell in one.line.split(",")]
        assert cells == [one.visitor, *one.attributes.values()]
        assert (
            one.state["source_offset"] == world.profiles()[one.visitor]["source_offset"]
        )


def test_every_record_is_told_with_its_reason(world: World, tmp_path: Path) -> None:
    """Folded, duplicate, filtered and dead letter, in the order of the records."""
    good = world.record(event(1, "ann"))
    batch = [
        good,
        good,
        Record(b"ann", None),
        Record(b"ann", b"\1"),
        world.record(event(2, None)),
    ]
    found = look(tmp_path, batch).records
    assert [(one.outcome, one.reason) for one in found] == [
        ("folded", ""),
        ("duplicate", ""),
        ("filtered", "tombstone"),
        ("dead_lettered", "bad_magic"),
        ("dead_lettered", "missing_visitor"),
    ]
    assert [one.offset for one in found] == [0, 1, 2, 3, 4]
    assert found[3].sentence.startswith("The record begins with byte 1")


def test_what_is_filtered_is_told_apart(world: World, tmp_path: Path) -> None:
    """A tombstone, an event that `where` leaves out, and one of nobody."""
    batch = [
        Record(b"ann", None),
        world.record(event(1, "ann", amount=1)),
        world.record(event(2, None)),
        world.record(event(3, "ann")),
    ]
    looked = look(tmp_path, batch, where="amount > 1", without_visitor="filter")
    found = looked.records
    assert [(one.outcome, one.reason) for one in found] == [
        ("filtered", "tombstone"),
        ("filtered", "where"),
        ("filtered", "without_visitor"),
        ("folded", ""),
    ]


def test_the_share_of_nulls_counts_refused_events_too(
    world: World, tmp_path: Path
) -> None:
    """A column's nulls are those of all records that decode, whatever they become."""
    batch = [
        world.record(event(n, None if n < 2 else "ann", None if n < 4 else "x"))
        for n in range(5)
    ]
    found = {one.name: one for one in look(tmp_path, batch).columns}
    assert (found["visitor"].values, found["visitor"].nulls) == (5, 2)
    assert (found["store"].values, found["store"].nulls) == (5, 4)
    assert found["store"].examples == ("x",)
    assert found["event_id"].examples == ("e0", "e1", "e2")
    time = found["event_time"]
    assert (time.kind, time.examples[0]) == ("datetime", "1970-01-01 00:00:00Z")


def test_examples_are_written_as_what_they_stand_for(
    world: World, tmp_path: Path
) -> None:
    """A decimal has its point, although it is stored as a whole number."""
    priced = {**ATTRIBUTES, "euros": {"aggregate": "sum", "of": PRICE}}
    found = look(tmp_path, [world.record(event(1, "ann", amount=12))], priced)
    (euros,) = (one for one in found.columns if one.name == "euros")
    assert (euros.kind, euros.examples) == ("decimal", ("12.00",))


def test_a_partition_that_would_halt_is_told_with_the_remedy(
    world: World, tmp_path: Path
) -> None:
    """Records of a partition that would halt are `halted`; the others are worked."""
    wrong = world.record(event(1, "ann"), partition=1)
    batch = [
        world.record(event(2, "bob")),
        Record(b"till 7", wrong.value, partition=1),
        wrong,
    ]
    found = look(tmp_path, batch)
    assert [one.outcome for one in found.records] == ["folded", HALTED, HALTED]
    assert found.records[1].reason == "key_is_not_visitor"
    assert "key_expression" in found.records[1].sentence
    assert [one.visitor for one in found.profiles] == ["bob"]


def test_a_row_that_target_cannot_take_says_why(world: World, tmp_path: Path) -> None:
    """A profile too large for Target has no line, and the reason instead."""
    batch = [world.record(event(1, "ann", "x" * 70_000))]
    (one,) = look(tmp_path, batch).profiles
    assert one.line is None
    assert "64,000 bytes" in one.rejected


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    """An empty topic previews as empty, with the header that a file would have."""
    found = look(tmp_path, [])
    assert (found.records, found.columns, found.profiles) == ([], [], [])
    assert found.header.startswith("batch=thirdPartyId,")
