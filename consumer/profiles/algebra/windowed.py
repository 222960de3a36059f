"""count, sum, min and max of the last days: one partial result a day.

A day's partial result is a state of the aggregate without a window, its inner one, so
whatever window is asked for is a sum over days. Nothing here knows what day it is:
`within` is told the day to render as of, `since` the days that are to be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import list_column, list_entries, struct_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.algebra.monoid import Aggregate
    from consumer.profiles.columns import Ints
    from consumer.profiles.operands import Rows


class Inner(Protocol):
    """An aggregate whose states of several days can be added up at once."""

    @property
    def field(self) -> AvroType:
        """The Avro type of the state."""

    def lift(self, rows: Rows) -> Any:  # noqa: ANN401 - each has its own state
        """Fold the rows of each slot."""

    def gathered(self, state: Any, slots: Ints, count: int) -> Any:  # noqa: ANN401
        """Add up the states that have the same slot, of `count` slots."""

    def to_arrow(self, state: Any) -> pa.Array:  # noqa: ANN401
        """Give the state as a column."""

    def from_arrow(self, array: pa.Array) -> Any:  # noqa: ANN401
        """Read the state from a column."""


class Windowed(Protocol):
    """What an aggregate over the last days has beyond `Aggregate`."""

    def within(self, state: Any, first: Ints) -> Any:  # noqa: ANN401
        """Give what the aggregate without a window would hold of the days from `first`.

        `first` has a day a slot.
        """

    def since(self, state: Any, first: Ints) -> Any:  # noqa: ANN401
        """Forget what lies before day `first` of each slot."""

    def days(self, state: Any) -> tuple[Ints, Ints]:  # noqa: ANN401
        """Give slot and day of each entry of the state."""


@dataclass(frozen=True, slots=True)
class DaysState:
    """For each slot the entries `offsets[i]:offsets[i + 1]`, sorted by day.

    `values` has the inner state of each entry's day, as the inner aggregate writes it.
    """

    offsets: Ints
    days: Ints
    values: pa.Array


@dataclass(frozen=True, slots=True)
class ByDay:
    """Keeps the inner aggregate's state of each day."""

    name: str
    inner: Inner

    @property
    def field(self) -> AvroType:
        """An array of days with their states."""
        fields = [
            {"name": "day", "type": "int"},
            {"name": "value", "type": self.inner.field},
        ]
        entry = {"type": "record", "name": f"{self.name}_day", "fields": fields}
        return {"type": "array", "items": entry}

    def lift(self, rows: Rows) -> DaysState:
        """Fold the rows of each slot and day."""
        days = rows.days()
        slots, kept, entry = _by_slot_and_day(rows.slots, days)
        lifted = self.inner.lift(replace(rows, count=len(slots), slots=entry))
        offsets = cols.offsets_of(slots, rows.count)
        return DaysState(offsets, kept, self.inner.to_arrow(lifted))

    def combine(self, left: DaysState, right: DaysState) -> DaysState:
        """Add up day by day."""
        slots = np.concatenate(
            [cols.slots_of(left.offsets), cols.slots_of(right.offsets)]
        )
        days = np.concatenate([left.days, right.days])
        values = pa.concat_arrays([left.values, right.values])
        slots, days, entry = _by_slot_and_day(slots, days)
        added = self.inner.gathered(self.inner.from_arrow(values), entry, len(slots))
        offsets = cols.offsets_of(slots, len(left.offsets) - 1)
        return DaysState(offsets, days, self.inner.to_arrow(added))

    def to_arrow(self, state: DaysState) -> pa.Array:
        """Make a list column."""
        days = state.days.astype(np.int32)
        return list_column(state.offsets, struct_column(day=days, value=state.values))

    def from_arrow(self, array: pa.Array) -> DaysState:
        """Read a list column."""
        offsets, entries = list_entries(array)
        days, values = entries.flatten()
        return DaysState(offsets, cols.from_arrow(days).astype(np.int64), values)

    def within(self, state: DaysState, first: Ints) -> Any:  # noqa: ANN401 - the inner aggregate's
        """Add up the days from `first` of each slot, as an inner state."""
        inside = self.since(state, first)
        values = self.inner.from_arrow(inside.values)
        return self.inner.gathered(values, cols.slots_of(inside.offsets), len(first))

    def since(self, state: DaysState, first: Ints) -> DaysState:
        """Forget the days before `first` of each slot."""
        slots = cols.slots_of(state.offsets)
        kept = state.days >= first[slots]
        if kept.all():
            return state
        return DaysState(
            cols.offsets_of(slots[kept], len(first)),
            state.days[kept],
            _picked(state.values, kept),
        )

    def days(self, state: DaysState) -> tuple[Ints, Ints]:
        """Give slot and day of each entry."""
        return cols.slots_of(state.offsets), state.days


def windowed(aggregate: Aggregate) -> Windowed:
    """Take an aggregate for what it is, where its plan has a window."""
    return aggregate  # type: ignore[return-value]  # the catalogue's choice


def _picked(values: pa.Array, flags: NDArray[np.bool_]) -> pa.Array:
    return values.take(pa.array(np.flatnonzero(flags)))


def _by_slot_and_day(slots: Ints, days: Ints) -> tuple[Ints, Ints, Ints]:
    """Give the distinct pairs, sorted, and the place of each row's pair among them."""
    if not len(slots):
        return slots, days, slots
    least = int(days.min())
    span = int(days.max()) - least + 1
    pairs, entry = np.unique(slots * span + (days - least), return_inverse=True)
    return pairs // span, pairs % span + least, entry
