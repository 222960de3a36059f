"""The reference events and their recount."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import polars as pl
import pytest

from bench.generate import VARIANTS, Part, generate, spoil
from bench.job import ITEMS, LATEST_SKUS, SCHEMA, Run
from bench.measured.stacked import EMPTY, worked
from bench.recount import COLUMNS, difference, recount
from consumer.frames import Outcome, Records
from consumer.profiles.buffer import Buffer
from consumer.stages.batch import OpenPartition

if TYPE_CHECKING:
    from consumer.profiles.table import Keys

EVENTS = 3_000
PARSED = fastavro.parse_schema(json.loads(SCHEMA))


def decoded(value: bytes) -> dict[str, Any]:
    """Decode a record by a codec that had no part in making it."""
    found: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), PARSED, None)
    return dict(found)


def parts(name: str, events: int = EVENTS) -> list[Part]:
    """Make the events of a variant."""
    return list(generate(VARIANTS[name], events))


@pytest.mark.parametrize("name", VARIANTS)
def test_equal_arguments_make_equal_bytes(name: str) -> None:
    """A topic that is loaded elsewhere holds the very same records."""
    (first,), (again,) = parts(name), parts(name)
    assert first.values == again.values
    assert first.keys == again.keys
    assert first.timestamps_ms == again.timestamps_ms


def test_events_are_the_reference_jobs() -> None:
    """12 fields, 3 line items, keyed by visitor, about 225 bytes with the key."""
    (part,) = parts("uniform")
    events = [decoded(value) for value in part.values]
    assert {len(event) for event in events} == {12}
    assert {len(event["items"]) for event in events} == {ITEMS}
    assert [event["visitor_id"].encode() for event in events] == part.keys
    pairs = zip(part.keys, part.values, strict=True)
    size = np.mean([len(key) + len(value) for key, value in pairs])
    assert 215 < size < 235


def test_zipf_visitors_are_skewed() -> None:
    """Few visitors have most of the events, as in a shop."""
    (part,) = parts("zipf")
    ((_, most), *_) = Counter(part.keys).most_common(1)
    assert most > EVENTS / 10


def test_poison_is_left_out_of_the_recount() -> None:
    """One record in twenty is broken; the sound columns are the others."""
    (part,) = parts("poison")
    broken = 0
    for value in part.values:
        try:
            again = io.BytesIO()
            fastavro.schemaless_writer(again, PARSED, decoded(value))
            broken += value[:1] != b"\0" or again.getvalue() != value[5:]
        except (EOFError, IndexError, ValueError):
            broken += 1
    assert len(part.sound) == EVENTS - broken
    assert EVENTS / 30 < broken < EVENTS / 12


def test_each_kind_of_poison_differs_from_the_record() -> None:
    """A spoiled record is never the record itself."""
    value = b"\0\0\0\0\1" + bytes(range(100))
    assert len({value, *(spoil(value, kind) for kind in range(4))}) == 5


def test_the_recount_is_what_plain_python_counts() -> None:
    """Every attribute by its definition, one event at a time."""
    (part,) = parts("zipf")
    told = recount([part.sound])
    assert list(told.columns) == list(COLUMNS)
    by_visitor: dict[str, list[dict[str, Any]]] = {}
    for value in part.values:
        event = decoded(value)
        by_visitor.setdefault(event["visitor_id"], []).append(event)
    assert len(told) == len(by_visitor)
    for row in told.iter_rows(named=True):
        events = by_visitor[row["visitor"]]
        events.sort(key=lambda event: (event["occurred_at"], event["event_id"]))
        sales = [e["total_minor"] for e in events if e["event_type"] == "SALE"]
        returned = [e["total_minor"] for e in events if e["event_type"] == "RETURN"]
        units: Counter[str] = Counter()
        for item in (item for event in events for item in event["items"]):
            units[item["category"]] += item["quantity"]
        skus = [item["sku"] for event in events for item in event["items"]]
        assert row["orders"] == len(sales)
        assert row["returns"] == len(returned)
        assert row["revenue"] == sum(sales) - sum(returned)
        newest = events[-1]["occurred_at"].timestamp() * 1000
        assert row["last_purchase"] == round(newest)
        assert row["last_store"] == events[-1]["store_id"]
        assert row["largest_order"] == max(sales + returned)
        assert row["units"] == ",".join(f"{k}:{n}" for k, n in sorted(units.items()))
        assert row["skus"] == ",".join(skus[::-1][:LATEST_SKUS])


def test_a_single_wrong_value_is_found() -> None:
    """The check names the attribute and the visitor, whatever the attribute."""
    (part,) = parts("uniform", 200)
    told = recount([part.sound])
    assert not difference(told, told)
    assert difference(told.head(100), told).startswith("100 profiles instead of")
    for name in list(COLUMNS)[1:]:
        first = pl.int_range(pl.len()) == 0
        other = pl.col(name).shift(-1)
        moved = pl.when(first).then(other.cast(COLUMNS[name])).otherwise(name)
        wrong = told.with_columns(moved.alias(name))
        if wrong[name][0] != told[name][0]:
            assert f"1 profiles differ in {name}" in difference(wrong, told)


class NoStore:
    """A store that has never seen anybody."""

    position = None

    def gather(self, keys: Keys, absent: bytes) -> Buffer:
        """Find nothing."""
        return Buffer.of([absent] * len(keys))


def test_the_services_work_takes_the_reference_events(tmp_path: object) -> None:
    """The job's configuration fits its schema: sound records fold, others do not."""
    (part,) = parts("poison", 500)
    run = Run(str(tmp_path), "localhost:1", "purchases", "bench")
    count = len(part.values)
    records = Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.array(part.timestamps_ms),
        part.keys,
        part.values,
    )
    partition = OpenPartition(0, NoStore(), None, EMPTY)  # type: ignore[arg-type]  # only read from
    prepared = worked(run.settings()).prepare(records, {0: partition})
    counts = prepared.verdicts.counts()
    assert counts[Outcome.FOLDED] == len(part.sound)
    assert counts[Outcome.DEAD_LETTERED] == count - len(part.sound)
