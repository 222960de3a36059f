"""min and max: the least or the greatest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.profiles import columns as cols

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.columns import Column, Ints
    from consumer.profiles.operands import Rows


@dataclass(frozen=True, slots=True)
class ExtremeState:
    """A value where `present`, else nothing."""

    value: Column
    present: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Extreme:
    """min and max; text compares by code points."""

    name: str
    storage: str
    least: bool

    @property
    def field(self) -> AvroType:
        """A nullable value."""
        return ["null", self.storage]

    def lift(self, rows: Rows) -> ExtremeState:
        """Find each slot's extreme operand."""
        return self._best(rows.operand, rows.slots, rows.count)

    def gathered(self, state: ExtremeState, slots: Ints, count: int) -> ExtremeState:
        """Find the extreme of the states that have the same slot."""
        held = np.flatnonzero(state.present)
        return self._best(cols.take(state.value, held), slots[held], count)

    def _best(self, operand: Column, slots: Ints, count: int) -> ExtremeState:
        codes, values = cols.ranked(operand)
        best = np.full(count, -1)
        if self.least:
            codes = len(values) - 1 - codes
        np.maximum.at(best, slots, codes)
        present = best >= 0
        winners = best[present]
        if self.least:
            winners = len(values) - 1 - winners
        placed = cols.spread(np.flatnonzero(present), count, cols.take(values, winners))
        return ExtremeState(placed, present)

    def combine(self, left: ExtremeState, right: ExtremeState) -> ExtremeState:
        """Keep the more extreme of two values."""
        wins = _less(right.value, left.value)
        if not self.least:
            wins = _less(left.value, right.value)
        chosen = right.present & (wins | ~left.present)
        return ExtremeState(
            cols.choose(chosen, right.value, left.value), left.present | right.present
        )

    def to_arrow(self, state: ExtremeState) -> pa.Array:
        """Make a nullable column."""
        return cols.to_arrow(state.value, state.present)

    def from_arrow(self, array: pa.Array) -> ExtremeState:
        """Read a nullable column."""
        present = array.is_valid().to_numpy(zero_copy_only=False)
        return ExtremeState(cols.from_arrow(array), present)


def _less(left: Column, right: Column) -> NDArray[np.bool_]:
    if isinstance(left, pa.Array):
        left = pc.less(left, right).to_numpy(zero_copy_only=False)
        flags: NDArray[np.bool_] = left
    else:
        flags = left < right
    return flags
