"""Columns that the algebra works on, and the index arithmetic of ragged lists.

A `Column` is a numpy array (longs, doubles) or an Arrow string array; both without
nulls. A ragged list column is an array of `offsets` (int64, one more than rows) into
columns of entries: row `i` owns the entries `offsets[i]` to `offsets[i + 1]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[Any] | pa.StringArray"
Ints: TypeAlias = "NDArray[np.int64]"


def from_series(series: pl.Series) -> Column:
    """Turn a polars series without nulls into a column."""
    arrow = series.to_arrow()
    if pa.types.is_large_string(arrow.type) or pa.types.is_string_view(arrow.type):
        return arrow.cast(pa.string())
    return series.to_numpy()


def from_arrow(array: pa.Array) -> Column:
    """Turn an Arrow array into a column; nulls become 0 or the empty string."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_string(array.type):
        return array.fill_null("") if array.null_count else array
    if array.null_count:
        array = array.fill_null(0)
    return array.to_numpy(zero_copy_only=False)


def to_arrow(column: Column, present: NDArray[np.bool_] | None = None) -> pa.Array:
    """Turn a column into an Arrow array, null where `present` is false."""
    if isinstance(column, pa.Array):
        if present is None:
            return column
        return pc.if_else(pa.array(present), column, pa.scalar(None, column.type))
    return pa.array(column, mask=None if present is None else ~present)


def take(column: Column, rows: Ints) -> Column:
    """Pick rows of a column."""
    if isinstance(column, pa.Array):
        return column.take(pa.array(rows))
    return column[rows]


def concat(first: Column, second: Column) -> Column:
    """Put two columns of one type behind each other."""
    if isinstance(first, pa.Array):
        return pa.concat_arrays([first, second])
    return np.concatenate([first, second])


def choose(flags: NDArray[np.bool_], yes: Column, no: Column) -> Column:
    """Pick row by row from `yes` where the flag is set, else from `no`."""
    if isinstance(yes, pa.Array):
        return pc.if_else(pa.array(flags), yes, no)
    return np.where(flags, yes, no)


def blank(count: int, like: Column) -> Column:
    """Make a column of zeros or empty strings of the type of `like`."""
    if isinstance(like, pa.Array):
        return pa.array(np.full(count, "", dtype=object), type=pa.string())
    return np.zeros(count, like.dtype)


def spread(rows: Ints, count: int, values: Column) -> Column:
    """Place `values` at `rows` of a blank column of `count` rows."""
    if isinstance(values, pa.Array):
        source = np.full(count, -1)
        source[rows] = np.arange(len(rows))
        return values.take(pa.array(source, mask=source < 0)).fill_null("")
    placed = np.zeros(count, values.dtype)
    placed[rows] = values
    return placed


def ranked(column: Column) -> tuple[Ints, Column]:
    """Replace values by ranks: codes that sort like the values, and the values.

    `values[codes]` is the column again; equal values have equal codes.
    """
    encoded = pa.array(column).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    codes: Ints = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return codes, from_arrow(encoded.dictionary.take(pa.array(order)))


def segment_starts(sorted_slots: Ints) -> Ints:
    """Find where each run of equal values begins."""
    if len(sorted_slots) == 0:
        return np.zeros(0, np.int64)
    change = np.empty(len(sorted_slots), bool)
    change[0] = True
    np.not_equal(sorted_slots[1:], sorted_slots[:-1], out=change[1:])
    return np.flatnonzero(change)


def offsets_of(slots: Ints, count: int) -> Ints:
    """Give the offsets of entries that are sorted by slot."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(slots, minlength=count), out=offsets[1:])
    return offsets


def slots_of(offsets: Ints) -> Ints:
    """Give the slot of each entry: the inverse of `offsets_of`."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
