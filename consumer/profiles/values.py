"""What a state is worth: one value, or a list of values, for each visitor.

Enters: an attribute's states. Leaves: a polars series of the attribute's `shown`
type in storage form, or a list series of it for top and recent; null: no value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from consumer.plan.attributes import LISTED
from consumer.profiles import columns as cols

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.algebra.additive import AdditiveState
    from consumer.profiles.algebra.keyed import KeyedState
    from consumer.profiles.columns import Column, Ints


def is_listed(plan: AttributePlan) -> bool:
    """Tell whether Target gets several values joined into one."""
    return plan.aggregate in LISTED and plan.format.kind == "list"


def state_values(plan: AttributePlan, state: Any) -> pl.Series:  # noqa: ANN401 - each monoid has its own
    """Give each visitor's value, or the list of them where `is_listed`."""
    match plan.aggregate:
        case "count" | "sum" | "mean":
            return _additive(plan, state)
        case "min" | "max" | "first" | "last":
            return _series(cols.to_arrow(state.value, state.present))
        case "distinct":
            counts = np.diff(state.offsets)
            return _series(pa.array(counts, mask=counts == 0))
        case "top":
            values, lengths = _heaviest(state, plan.n)
            return _entries(plan, values, lengths)
        case "recent":
            return _entries(plan, state.value, np.diff(state.offsets))


def _additive(plan: AttributePlan, state: AdditiveState) -> pl.Series:
    if plan.aggregate != "mean":
        nothing = (state.weight == 0) & (state.total == 0)
        return _series(pa.array(state.total, mask=nothing))
    frame = pl.DataFrame({"total": state.total, "weight": state.weight})
    extra = plan.shown.scale - plan.kept.scale
    weight = pl.when(pl.col("weight") != 0).then(pl.col("weight"))
    wide = pl.Decimal(38, 0)
    scaled = pl.col("total").cast(wide) * 10**extra / weight.cast(wide)
    return frame.select(scaled.round(0).cast(pl.Int64).alias("value"))["value"]


def _heaviest(state: KeyedState, n: int) -> tuple[Column, Ints]:
    """Pick up to `n` keys of positive weight a slot: heaviest, then smallest key."""
    count = len(state.offsets) - 1
    slots = cols.slots_of(state.offsets)
    positive = np.flatnonzero(state.weights > 0)
    # Keys are sorted within a slot, so a stable sort leaves ties in their order.
    order = positive[np.lexsort((-state.weights[positive], slots[positive]))]
    offsets = cols.offsets_of(slots[order], count)
    lengths = np.minimum(np.diff(offsets), n)
    picked = order[cols.ranges(offsets[:-1], lengths)]
    return cols.take(state.keys, picked), lengths


def _entries(plan: AttributePlan, values: Column, lengths: Ints) -> pl.Series:
    """Give lists of entries, or the only entry itself; null where there is none."""
    if not is_listed(plan):
        holders = np.flatnonzero(lengths)
        firsts = (np.cumsum(lengths) - lengths)[holders]
        source = np.full(len(lengths), -1)
        source[holders] = firsts
        return _series(cols.to_arrow(values).take(pa.array(source, mask=source < 0)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), cols.to_arrow(values), mask=pa.array(lengths == 0)
    )
    return _series(lists)


def _series(array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    if not isinstance(series, pl.Series):
        message = f"not a column: {array.type}"
        raise TypeError(message)
    return series.alias("value")
