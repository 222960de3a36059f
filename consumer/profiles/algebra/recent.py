"""recent: the newest values of a visitor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from consumer.packed import ranges
from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import (
    avro_record,
    list_column,
    list_entries,
    struct_column,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.columns import Column, Ints
    from consumer.profiles.operands import Rows


@dataclass(frozen=True, slots=True)
class RecentState:
    """For each slot the entries `offsets[i]:offsets[i + 1]`, newest first."""

    offsets: Ints
    value: Column
    time: Ints
    event: Column
    item: NDArray[np.int32]

    def pick(self, offsets: Ints, entries: Ints) -> RecentState:
        """Keep the given entries under new offsets."""
        return RecentState(
            offsets,
            cols.take(self.value, entries),
            self.time[entries],
            cols.take(self.event, entries),
            self.item[entries],
        )


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest `n` values by (event time, event id, item index)."""

    name: str
    storage: str
    n: int

    @property
    def field(self) -> AvroType:
        """An array of values with their order."""
        entry = avro_record(
            self.name, value=self.storage, time="long", event="string", item="int"
        )
        return {"type": "array", "items": entry}

    def lift(self, rows: Rows) -> RecentState:
        """Pick each slot's last `n` rows, newest first."""
        offsets = cols.offsets_of(rows.slots, rows.count)
        kept = np.minimum(np.diff(offsets), self.n)
        backwards = ranges(-(offsets[1:] - 1), kept)
        picked = -backwards
        order = rows.order.take(picked)
        return RecentState(
            np.concatenate([[0], np.cumsum(kept)]),
            cols.take(rows.operand, picked),
            order.time,
            order.event,
            order.item,
        )

    def combine(self, left: RecentState, right: RecentState) -> RecentState:
        """Merge the entries of both and keep the newest.

        Where all of `right` is newer than all of `left`, as for events in order,
        that is putting one before the other; only other slots are sorted.
        """
        held, added = np.diff(left.offsets), np.diff(right.offsets)
        starts = np.concatenate([[0], np.cumsum(held + added)])
        # For each slot the entries of `right`, then those of `left`, as places in
        # both columns put behind each other.
        entries = np.empty(starts[-1], np.int64)
        entries[ranges(starts[:-1], added)] = np.arange(len(right.time))
        entries[ranges(starts[:-1] + added, held)] = len(right.time) + np.arange(
            len(left.time)
        )
        both = RecentState(
            starts,
            cols.concat(right.value, left.value),
            np.concatenate([right.time, left.time]),
            cols.concat(right.event, left.event),
            np.concatenate([right.item, left.item]),
        )
        met = np.flatnonzero((held > 0) & (added > 0))
        seam = starts[met] + added[met]
        mixed = met[both.time[entries[seam - 1]] <= both.time[entries[seam]]]
        if mixed.size:
            _sort_newest_first(both, entries, mixed)
        lengths = np.minimum(held + added, self.n)
        return both.pick(
            np.concatenate([[0], np.cumsum(lengths)]),
            entries[ranges(starts[:-1], lengths)],
        )

    def to_arrow(self, state: RecentState) -> pa.Array:
        """Make a list column."""
        entries = struct_column(
            value=state.value, time=state.time, event=state.event, item=state.item
        )
        return list_column(state.offsets, entries)

    def from_arrow(self, array: pa.Array) -> RecentState:
        """Read a list column."""
        offsets, entries = list_entries(array)
        value, time, event, item = (
            cols.from_arrow(child) for child in entries.flatten()
        )
        return RecentState(offsets, value, time, event, item)


def _sort_newest_first(state: RecentState, entries: Ints, mixed: Ints) -> None:
    """Sort the `entries` of the `mixed` slots, in place; `state` has their columns."""
    lengths = np.diff(state.offsets)[mixed]
    places = ranges(state.offsets[mixed], lengths)
    picked = entries[places]
    frame = pl.DataFrame(
        {
            "slot": np.repeat(mixed, lengths),
            "time": state.time[picked],
            "event": pa.array(cols.take(state.event, picked)),
            "item": state.item[picked],
            "entry": picked,
        }
    )
    ordered = frame.sort(
        "slot", "time", "event", "item", descending=[False, True, True, True]
    )
    entries[places] = ordered["entry"].to_numpy()
