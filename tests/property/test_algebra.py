"""Every aggregate is a commutative monoid over columns, and its states are Avro."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.config import Settings
from consumer.errors import PartitionHalt
from consumer.frames import Events
from consumer.plan.compile import compile_plan
from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed
from consumer.profiles.days import DAY_MICROS
from consumer.profiles.operands import Operands
from consumer.profiles.record import ProfileCodec, ProfileSchema
from tests.property.budget import examples

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.plan.compile import Plan

SLOTS = 3
TEXTS = ["", "a", "ä", "Z", "日本", "\U0001f600", "￿"]
FRAME = pl.DataFrame(
    {
        "event_id": TEXTS[:2],
        "visitor_id": TEXTS[:2],
        "occurred_at": pl.Series([0, 1]).cast(pl.Datetime("us")),
        "long": [1, 2],
        "double": [0.5, 1.5],
        "text": TEXTS[:2],
    }
)
AGGREGATES: dict[str, dict[str, Any]] = {
    "count": {},
    "sum": {"of": "long"},
    "mean": {"of": "long"},
    **{
        f"{name}_{of}": {"aggregate": name, "of": of, **more}
        for name, more in {
            "min": {},
            "max": {},
            "first": {},
            "last": {},
            "recent": {"n": 3},
        }.items()
        for of in ("long", "double", "text")
    },
    **{
        f"{name}_{of}": {"aggregate": name, "of": of}
        for name in ("distinct", "top")
        for of in ("long", "text")
    },
    "weighted": {"aggregate": "top", "of": "text", "by": "long"},
    **{
        f"{name}_of_days": {"aggregate": name, "window": "2d", **more}
        for name, more in {
            "count": {},
            "sum": {"of": "long"},
            "min": {"of": "double"},
            "max": {"of": "text"},
            "distinct": {"of": "text"},
        }.items()
    },
}


def compiled(attributes: dict[str, dict[str, Any]]) -> Plan:
    """Compile attributes; the aggregate's name is theirs if none is given."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {
                name: {"aggregate": name, **one} for name, one in attributes.items()
            },
        }
    )
    return compile_plan(settings, FRAME)


PLAN = compiled(AGGREGATES)
CODEC = ProfileCodec(ProfileSchema.of(PLAN))
BY_NAME = {plan.name: plan for plan in PLAN.attributes}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "long": st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]),
    "double": st.sampled_from([-1.5, 0.0, 5e-324, 1e18]),
    "string": st.sampled_from(TEXTS),
}


def rows_of(plan: AttributePlan) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Draw slots, operands, weights and times; ids are told later."""
    operand = VALUES[plan.kept.storage]
    if plan.aggregate in {"count", "sum", "mean"}:
        operand = st.integers(-(10**13), 10**13)
    weight = st.integers(-2, 2)
    times = st.sampled_from([-(2**62), -1, 0, 1, DAY_MICROS])
    slots = st.integers(0, SLOTS - 1)
    return st.lists(st.tuples(slots, st.none() | operand, weight, times), max_size=12)


def lifted(plan: AttributePlan, rows: list[tuple[Any, ...]]) -> Any:  # noqa: ANN401 - each monoid has its own
    """Lift rows, the last of each being the event's id."""
    storage = plan.kept.dtype
    slots = np.array([row[0] for row in rows], np.int64)
    operands = pl.DataFrame({plan.name: pl.Series([r[1] for r in rows], dtype=storage)})
    if plan.weight_column is not None:
        weights = pl.Series(plan.weight_column, [r[2] for r in rows], dtype=pl.Int64)
        operands = operands.with_columns(weights)
    identity = pl.DataFrame(
        {
            "event_id": pl.Series([row[4] for row in rows], dtype=pl.String),
            "event_time": pl.Series([row[3] for row in rows], dtype=pl.Int64),
        }
    )
    events = Events(np.arange(len(rows)), identity, operands, None)
    ordered = plan.aggregate in {"first", "last", "recent"}
    made = Operands(events, slots, SLOTS).rows(plan, ordered=ordered)
    return aggregate_for(plan).lift(made)


def listed(plan: AttributePlan, state: Any) -> list[Any]:  # noqa: ANN401 - each monoid has its own
    """Write a state as values, for comparison."""
    found: list[Any] = aggregate_for(plan).to_arrow(state).to_pylist()
    return found


def neutral(plan: AttributePlan) -> Any:  # noqa: ANN401 - each monoid has its own
    """Give the state of unknown visitors."""
    kind = CODEC.schema.field(plan.name).type
    return aggregate_for(plan).from_arrow(pa.nulls(SLOTS, kind))


@pytest.mark.parametrize("name", AGGREGATES)
@examples(25)
@given(data=st.data())
def test_states_add_up_in_any_grouping(name: str, data: st.DataObject) -> None:
    """Neutral, associative, commutative; lifting all is combining the parts."""
    plan = BY_NAME[name]
    combine = aggregate_for(plan).combine
    drawn = data.draw(rows_of(plan))
    rows = [(*row, f"e{place}") for place, row in enumerate(drawn)]
    first, second = sorted(data.draw(st.lists(st.integers(0, 12), min_size=2))[:2])
    parts = [rows[:first], rows[first:second], rows[second:]]
    a, b, c = (lifted(plan, part) for part in parts)
    whole = listed(plan, lifted(plan, rows))
    assert listed(plan, combine(combine(a, b), c)) == whole
    assert listed(plan, combine(a, combine(b, c))) == whole
    assert listed(plan, combine(c, combine(b, a))) == whole
    assert listed(plan, combine(neutral(plan), a)) == listed(plan, a)
    assert listed(plan, combine(a, neutral(plan))) == listed(plan, a)
    backwards = listed(plan, lifted(plan, rows[::-1]))
    assert backwards == whole


@pytest.mark.parametrize("name", AGGREGATES)
@examples(25)
@given(data=st.data())
def test_states_come_back_from_bytes(name: str, data: st.DataObject) -> None:
    """Encoded into a profile record and decoded, a state is itself and combines."""
    plan = BY_NAME[name]
    drawn = data.draw(rows_of(plan))
    state = lifted(plan, [(*row, f"e{place}") for place, row in enumerate(drawn)])
    column = aggregate_for(plan).to_arrow(state)
    codec = ProfileCodec(ProfileSchema.of(compiled({name: AGGREGATES[name]})))
    header = {
        "visitor": pa.array(["", "ä", "x" * 300]),
        "version": pa.array([0, 1, 2**63 - 1]),
        "generation": pa.array([0, 1, 2**31 - 1], pa.int32()),
        "source_partition": pa.array([0, 1, 2**31 - 1], pa.int32()),
        "source_offset": pa.array([0, -1, 2**63 - 1]),
        "as_of_day": pa.array([0, -1, 1], pa.int32()),
        "active_day": pa.array([0, -1, 1], pa.int32()),
        "erased_at": pa.array([0, -1, 1], pa.int64()),
    }
    batch = pa.RecordBatch.from_pydict({**header, name: column})
    decoded = codec.decode(codec.encode(batch))
    assert decoded.to_pylist() == batch.to_pylist()
    again = aggregate_for(plan).from_arrow(decoded.column(name))
    assert listed(plan, again) == column.to_pylist()
    assert codec.encode(decoded) == codec.encode(batch)


@pytest.mark.parametrize("name", [n for n, p in BY_NAME.items() if p.window])
@examples(25)
@given(data=st.data())
def test_a_window_is_what_its_days_alone_would_give(
    name: str, data: st.DataObject
) -> None:
    """Within a window is the aggregate without one over the rows of its days."""
    plan = BY_NAME[name]
    aggregate = windowed(aggregate_for(plan))
    drawn = data.draw(rows_of(plan))
    rows = [(*row, f"e{place}") for place, row in enumerate(drawn)]
    first = data.draw(st.sampled_from([-(10**9), -1, 0, 1, 2]))
    plain = replace(plan, window=None)
    inside = [row for row in rows if row[3] // DAY_MICROS >= first]
    since = np.full(SLOTS, first)
    found = aggregate.within(lifted(plan, rows), since)
    if plan.aggregate == "distinct":
        found = replace(found, weights=np.ones(len(found.weights), np.int64))
    assert listed(plain, found) == listed(plain, lifted(plain, inside))
    kept = aggregate.since(lifted(plan, rows), since)
    assert listed(plan, kept) == listed(plan, lifted(plan, inside))
    slots, days = aggregate.days(kept)
    assert len(slots) == len(days)
    assert all(day >= first for day in days.tolist())


@pytest.mark.parametrize("name", ["sum", "weighted"])
def test_a_total_that_fits_no_long_halts(name: str) -> None:
    """Within one lift or between two states: nothing wraps in silence."""
    plan = BY_NAME[name]
    most = 2**62

    def one(number: int) -> tuple[Any, ...]:
        operand = number if name == "sum" else "k"
        return (1, operand, number, 0, "e")

    big = lifted(plan, [one(most)])
    small = lifted(plan, [one(most // 2)])
    combine = aggregate_for(plan).combine
    assert str(most + most // 2) in str(listed(plan, combine(big, small)))
    with pytest.raises(PartitionHalt) as caught:
        combine(big, big)
    assert caught.value.reason == "overflow"
    for rows in ([one(most), one(most)], [one(2**63 - 1)] * 3):
        with pytest.raises(PartitionHalt):
            lifted(plan, rows)
