"""top and distinct: exact keys, for top with their weights."""

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

    @property
    def field(self) -> AvroType:
        """An array of keys, with their weights for top."""
        if not self.weighted:
            return {"type": "array", "items": self.storage}
        entry = avro_record(self.name, key=self.storage, weight="long")
        return {"type": "array", "items": entry}

    def lift(self, rows: Rows) -> KeyedState:
        """Add up weights by key."""
        weights = rows.weight
        if weights is None or not self.weighted:
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
        else:
            summed = np.ones(len(unique), np.int64)
        return KeyedState(
            cols.offsets_of(unique // width, count),
            cols.take(values, unique % width),
            summed,
        )

    def to_arrow(self, state: KeyedState) -> pa.Array:
        """Make a list column."""
        entries = cols.to_arrow(state.keys)
        if self.weighted:
            entries = struct_column(key=entries, weight=state.weights)
        return list_column(state.offsets, entries)

    def from_arrow(self, array: pa.Array) -> KeyedState:
        """Read a list column."""
        offsets, entries = list_entries(array)
        if not self.weighted:
            return KeyedState(
                offsets, cols.from_arrow(entries), np.ones(len(entries), np.int64)
            )
        keys, weights = (cols.from_arrow(child) for child in entries.flatten())
        return KeyedState(offsets, keys, weights)
