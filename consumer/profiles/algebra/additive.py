"""count, sum and mean: a total, and how much was added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consumer.errors import PartitionHalt
from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import avro_record, struct_column

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.columns import Ints
    from consumer.profiles.operands import Rows


@dataclass(frozen=True, slots=True)
class AdditiveState:
    """`total` and `weight`, longs; weight 0 and total 0 is the neutral state."""

    total: Ints
    weight: Ints


@dataclass(frozen=True, slots=True)
class Additive:
    """count, sum and mean: a total, and how much was added up.

    Operands and batches are bounded so that a lift fits a long; a combine that
    would not halts the partition.
    """

    name: str

    @property
    def field(self) -> AvroType:
        """A record of two longs."""
        return avro_record(self.name, total="long", weight="long")

    def lift(self, rows: Rows) -> AdditiveState:
        """Add up operands (times their weights) and weights."""
        total = np.zeros(rows.count, np.int64)
        weight = np.zeros(rows.count, np.int64)
        if rows.weight is None:
            np.add.at(total, rows.slots, rows.operand)
            weight += np.bincount(rows.slots, minlength=rows.count)
        else:
            np.add.at(total, rows.slots, rows.operand * rows.weight)
            np.add.at(weight, rows.slots, rows.weight)
        return AdditiveState(total, weight)

    def combine(self, left: AdditiveState, right: AdditiveState) -> AdditiveState:
        """Add both longs, watching for overflow."""
        total = left.total + right.total
        overflown = ((left.total ^ total) & (right.total ^ total)) < 0
        if overflown.any():
            raise PartitionHalt(
                "overflow",
                "Divide the operand in `of`, or give the attribute another name.",
                what=f"The total of attribute {self.name} no longer fits a long.",
            )
        return AdditiveState(total, left.weight + right.weight)

    def to_arrow(self, state: AdditiveState) -> pa.Array:
        """Make a struct column."""
        return struct_column(total=state.total, weight=state.weight)

    def from_arrow(self, array: pa.Array) -> AdditiveState:
        """Read a struct column."""
        total, weight = (cols.from_arrow(child) for child in array.flatten())
        return AdditiveState(total, weight)
