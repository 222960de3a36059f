"""count, sum and mean: a total, and how much was added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consumer.profiles import columns as cols
from consumer.profiles.algebra.avro import avro_record, struct_column
from consumer.profiles.algebra.limits import added, check_sums, product

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

    A total that would not fit a long halts the partition.
    """

    name: str

    @property
    def field(self) -> AvroType:
        """A record of two longs."""
        return avro_record(self.name, total="long", weight="long")

    def lift(self, rows: Rows) -> AdditiveState:
        """Add up operands, times their weights, and the weights; each row weighs 1."""
        operand = np.asarray(rows.operand, np.int64)
        weight = np.bincount(rows.slots, minlength=rows.count)
        if rows.weight is not None:
            operand = product(operand, rows.weight, self._total)
            weight = np.zeros(rows.count, np.int64)
            np.add.at(weight, rows.slots, rows.weight)
        check_sums(operand, rows.slots, self._total)
        total = np.zeros(rows.count, np.int64)
        np.add.at(total, rows.slots, operand)
        return AdditiveState(total, weight)

    def combine(self, left: AdditiveState, right: AdditiveState) -> AdditiveState:
        """Add both longs, watching for overflow."""
        return AdditiveState(
            added(left.total, right.total, self._total), left.weight + right.weight
        )

    def gathered(self, state: AdditiveState, slots: Ints, count: int) -> AdditiveState:
        """Add up the states that have the same slot."""
        check_sums(state.total, slots, self._total)
        total, weight = np.zeros(count, np.int64), np.zeros(count, np.int64)
        np.add.at(total, slots, state.total)
        np.add.at(weight, slots, state.weight)
        return AdditiveState(total, weight)

    @property
    def _total(self) -> str:
        return f"The total of attribute {self.name}"

    def to_arrow(self, state: AdditiveState) -> pa.Array:
        """Make a struct column."""
        return struct_column(total=state.total, weight=state.weight)

    def from_arrow(self, array: pa.Array) -> AdditiveState:
        """Read a struct column."""
        total, weight = (cols.from_arrow(child) for child in array.flatten())
        return AdditiveState(total, weight)
