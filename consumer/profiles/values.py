"""What a state is worth: one value, or a list of values, for each visitor.

Enters: an attribute's states. Leaves: a polars series of the attribute's `shown`
type in storage form, null: no value; or, for top and recent, the columns of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from consumer.compiled import sealed
from consumer.plan.attributes import LISTED
from consumer.profiles import columns as cols
from consumer.profiles.heaviest_kernel import heaviest

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.algebra.additive import AdditiveState
    from consumer.profiles.algebra.keyed import KeyedState
    from consumer.profiles.columns import Column, Ints


def is_listed(plan: AttributePlan) -> bool:
    """Tell whether Target gets several values joined into one."""
    return plan.aggregate in LISTED and plan.format.kind == "list"


def state_values(plan: AttributePlan, state: Any) -> pl.Series:  # noqa: ANN401 - each monoid has its own
    """Give each visitor's value, for top and recent the first of them."""
    match plan.aggregate:
        case "count" | "sum" | "mean":
            return _additive(plan, state)
        case "min" | "max" | "first" | "last":
            return _series(cols.to_arrow(state.value, state.present))
        case "distinct":
            counts = np.diff(state.offsets)
            nothing = (counts == 0) & (not plan.empties_to_zero)
            return _series(pa.array(counts, mask=nothing))
        case "top" | "recent":
            values, lengths = state_entries(plan, state)
            return _first(values, lengths)


def state_entries(plan: AttributePlan, state: Any) -> tuple[Column, Ints]:  # noqa: ANN401 - each monoid has its own
    """Give the values of top and recent end to end, and how many each visitor has."""
    if plan.aggregate == "top":
        return _heaviest(state, plan.n)
    return state.value, np.diff(state.offsets)


def _additive(plan: AttributePlan, state: AdditiveState) -> pl.Series:
    if plan.aggregate != "mean":
        nothing = (state.weight == 0) & (state.total == 0) & (not plan.empties_to_zero)
        return _series(pa.array(state.total, mask=nothing))
    frame = pl.DataFrame({"total": state.total, "weight": state.weight})
    extra = plan.shown.scale - plan.kept.scale
    weight = pl.when(pl.col("weight") != 0).then(pl.col("weight"))
    wide = pl.Decimal(38, 0)
    scaled = pl.col("total").cast(wide) * 10**extra / weight.cast(wide)
    return frame.select(scaled.round(0).cast(pl.Int64).alias("value"))["value"]


def _heaviest(state: KeyedState, n: int) -> tuple[Column, Ints]:
    """Pick up to `n` keys of positive weight a slot: heaviest, then smallest key."""
    picked = np.empty(len(state.weights), np.int64)
    lengths = np.empty(len(state.offsets) - 1, np.int64)
    entries = sealed(state.offsets), sealed(state.weights)
    count = heaviest(*entries, n, picked, lengths)
    return cols.take(state.keys, picked[:count]), lengths


def _first(values: Column, lengths: Ints) -> pl.Series:
    """Give each visitor's first value; null where there is none."""
    holders = np.flatnonzero(lengths)
    firsts = (np.cumsum(lengths) - lengths)[holders]
    source = np.full(len(lengths), -1)
    source[holders] = firsts
    return _series(cols.to_arrow(values).take(pa.array(source, mask=source < 0)))


def _series(array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    if not isinstance(series, pl.Series):
        message = f"not a column: {array.type}"
        raise TypeError(message)
    return series.alias("value")
