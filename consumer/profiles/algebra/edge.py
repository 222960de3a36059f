"""first and last: the value at the edge of a visitor's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import avro_record, struct_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.columns import Column, Ints
    from consumer.profiles.operands import Rows


@dataclass(frozen=True, slots=True)
class EdgeState:
    """A value where `present`, with the place in time that it came from."""

    value: Column
    present: NDArray[np.bool_]
    time: Ints
    event: Column
    item: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Edge:
    """first and last by (event time, event id, item index)."""

    name: str
    storage: str
    earliest: bool

    @property
    def field(self) -> AvroType:
        """A nullable value with its order."""
        return avro_record(
            self.name,
            value=["null", self.storage],
            time="long",
            event="string",
            item="int",
        )

    def lift(self, rows: Rows) -> EdgeState:
        """Pick each slot's first or last row."""
        starts = cols.segment_starts(rows.slots)
        picked = starts
        if not self.earliest:
            picked = np.append(starts[1:], len(rows.slots))[: len(starts)] - 1
        slots = rows.slots[picked]
        present = np.zeros(rows.count, bool)
        present[slots] = True
        order = rows.order.take(picked)

        def place(column: Column) -> Column:
            return cols.spread(slots, rows.count, column)

        return EdgeState(
            place(cols.take(rows.operand, picked)),
            present,
            place(order.time),
            place(order.event),
            place(order.item),
        )

    def combine(self, left: EdgeState, right: EdgeState) -> EdgeState:
        """Keep the earlier or the later of two."""
        both = left.present & right.present
        first, second = (right, left) if self.earliest else (left, right)
        wins = first.time < second.time
        if (ties := np.flatnonzero(both & (first.time == second.time))).size:
            low = _tie_keys(first, ties)
            high = _tie_keys(second, ties)
            wins[ties] = [a < b for a, b in zip(low, high, strict=True)]
        chosen = right.present & (wins | ~left.present)
        return EdgeState(
            cols.choose(chosen, right.value, left.value),
            left.present | right.present,
            np.where(chosen, right.time, left.time),
            cols.choose(chosen, right.event, left.event),
            np.where(chosen, right.item, left.item),
        )

    def to_arrow(self, state: EdgeState) -> pa.Array:
        """Make a struct column."""
        return struct_column(
            value=cols.to_arrow(state.value, state.present),
            time=state.time,
            event=state.event,
            item=state.item,
        )

    def from_arrow(self, array: pa.Array) -> EdgeState:
        """Read a struct column."""
        value, time, event, item = array.flatten()
        present = value.is_valid().to_numpy(zero_copy_only=False)
        return EdgeState(
            cols.from_arrow(value),
            present,
            cols.from_arrow(time),
            cols.from_arrow(event),
            cols.from_arrow(item),
        )


def _tie_keys(state: EdgeState, rows: Ints) -> list[tuple[str, int]]:
    events = pa.array(cols.take(state.event, rows)).to_pylist()
    return list(zip(events, state.item[rows].tolist(), strict=True))
