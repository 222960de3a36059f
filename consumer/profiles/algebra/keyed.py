"""top and distinct: exact keys, for top with their weights, in windows with their days.

A key of a window has the last day on which it was seen, in place of a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import (
    avro_record,
    list_column,
    list_entries,
    struct_column,
)
from consumer.profiles.algebra.limits import check_sums

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.columns import Column, Ints
    from consumer.profiles.operands import Rows


@dataclass(frozen=True, slots=True)
class KeyedState:
    """For each slot the entries `offsets[i]:offsets[i + 1]`, sorted by key."""

    offsets: Ints
    keys: Column
    weights: Ints


@dataclass(frozen=True, slots=True)
class Keyed:
    """top (a weight for each key; a weight of 0 is no key) and distinct (the keys)."""

    name: str
    storage: str
    weighted: bool
    dated: bool = False

    @property
    def field(self) -> AvroType:
        """An array of keys, with their weights for top, with their days in windows."""
        if self.dated:
            entry = avro_record(self.name, key=self.storage, day="int")
        elif self.weighted:
            entry = avro_record(self.name, key=self.storage, weight="long")
        else:
            return {"type": "array", "items": self.storage}
        return {"type": "array", "items": entry}

    def lift(self, rows: Rows) -> KeyedState:
        """Add up weights by key; in windows find each key's last day."""
        weights = rows.days() if self.dated else rows.weight
        if weights is None or not (self.weighted or self.dated):
            weights = np.ones(len(rows.slots), np.int64)
        return self._sum(rows.slots, rows.count, rows.operand, weights)

    def combine(self, left: KeyedState, right: KeyedState) -> KeyedState:
        """Unite the keys and add their weights."""
        slots = np.concatenate(
            [cols.slots_of(left.offsets), cols.slots_of(right.offsets)]
        )
        return self._sum(
            slots,
            len(left.offsets) - 1,
            cols.concat(left.keys, right.keys),
            np.concatenate([left.weights, right.weights]),
        )

    def _sum(self, slots: Ints, count: int, keys: Column, weights: Ints) -> KeyedState:
        codes, values = cols.ranked(keys)
        width = max(len(values), 1)
        combined = slots * width + codes
        order = np.argsort(combined)
        combined = combined[order]
        starts = cols.segment_starts(combined)
        unique = combined[starts]
        if self.weighted:
            groups = np.cumsum(np.bincount(starts, minlength=len(order))) - 1
            check_sums(weights[order], groups, f"A weight of attribute {self.name}")
            summed = (
                np.add.reduceat(weights[order], starts) if len(starts) else weights[:0]
            )
            kept = summed != 0
            unique, summed = unique[kept], summed[kept]
        elif self.dated and len(starts):
            summed = np.maximum.reduceat(weights[order], starts)
        else:
            summed = np.ones(len(unique), np.int64)
        return KeyedState(
            cols.offsets_of(unique // width, count),
            cols.take(values, unique % width),
            summed,
        )

    def within(self, state: KeyedState, first: Ints) -> KeyedState:
        """Give the keys that were seen on day `first` of their slot or later."""
        return self.since(state, first)

    def since(self, state: KeyedState, first: Ints) -> KeyedState:
        """Forget the keys that were last seen before day `first` of their slot."""
        slots = cols.slots_of(state.offsets)
        kept = state.weights >= first[slots]
        if kept.all():
            return state
        return KeyedState(
            cols.offsets_of(slots[kept], len(first)),
            cols.take(state.keys, np.flatnonzero(kept)),
            state.weights[kept],
        )

    def days(self, state: KeyedState) -> tuple[Ints, Ints]:
        """Give slot and last day of each key."""
        return cols.slots_of(state.offsets), state.weights

    def to_arrow(self, state: KeyedState) -> pa.Array:
        """Make a list column."""
        entries = cols.to_arrow(state.keys)
        if self.dated:
            days = state.weights.astype(np.int32)
            entries = struct_column(key=entries, day=days)
        elif self.weighted:
            entries = struct_column(key=entries, weight=state.weights)
        return list_column(state.offsets, entries)

    def from_arrow(self, array: pa.Array) -> KeyedState:
        """Read a list column."""
        offsets, entries = list_entries(array)
        if not (self.weighted or self.dated):
            return KeyedState(
                offsets, cols.from_arrow(entries), np.ones(len(entries), np.int64)
            )
        keys, weights = (cols.from_arrow(child) for child in entries.flatten())
        return KeyedState(offsets, keys, np.asarray(weights, np.int64))
