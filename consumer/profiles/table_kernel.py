"""A hash table of records in flat arrays: the loops of `table`, compiled.

A key is two halves of a hash, `high` and `low`. `index` has a power of two of places: a
row number, or -1. A row has its key in `highs` and `lows`, and its record in `arena`,
from `places` on: `sizes` bytes (-1: there is none) in `rooms` bytes that are its own.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917
from __future__ import annotations

from typing import Any

import numpy as np

from consumer.compiled import compiled
from consumer.profiles.merge_kernel import memcpy


@compiled(entry=True)
def find(
    index: Any, highs: Any, lows: Any, sizes: Any, high: Any, low: Any, rows: Any
) -> None:
    """Give the row of each key, -1 where there is no record."""
    mask = np.uint64(len(index) - 1)
    for place in range(len(high)):
        at = low[place] & mask
        row = index[at]
        while row >= 0 and not (lows[row] == low[place] and highs[row] == high[place]):
            at = (at + np.uint64(1)) & mask
            row = index[at]
        rows[place] = -1 if row < 0 or sizes[row] < 0 else row


@compiled(entry=True)
def enter(
    index: Any,
    highs: Any,
    lows: Any,
    sizes: Any,
    rooms: Any,
    count: int,
    high: Any,
    low: Any,
    rows: Any,
) -> int:
    """Give each key a row, a new one where it has none; gives the number of rows."""
    mask = np.uint64(len(index) - 1)
    for place in range(len(high)):
        at = low[place] & mask
        row = index[at]
        while row >= 0 and not (lows[row] == low[place] and highs[row] == high[place]):
            at = (at + np.uint64(1)) & mask
            row = index[at]
        if row < 0:
            row = count
            index[at] = row
            highs[row], lows[row] = high[place], low[place]
            sizes[row], rooms[row] = -1, 0
            count += 1
        rows[place] = row
    return count


@compiled(entry=True)
def reindex(index: Any, lows: Any, count: int) -> None:
    """Enter all rows into an empty index."""
    mask = np.uint64(len(index) - 1)
    for row in range(count):
        at = lows[row] & mask
        while index[at] >= 0:
            at = (at + np.uint64(1)) & mask
        index[at] = row


@compiled(entry=True)
def write(
    arena: Any,
    places: Any,
    sizes: Any,
    rooms: Any,
    used: int,
    rows: Any,
    data: Any,
    bounds: Any,
) -> int:
    """Put records into their rows; gives how much of the arena is used.

    A record that outgrew its room moves to a larger one, at the end.
    """
    for place in range(len(rows)):
        row, size = rows[place], bounds[place + 1] - bounds[place]
        if size > rooms[row]:
            places[row], rooms[row] = used, size + size // 4
            used += size + size // 4
        memcpy(arena.ctypes.data + places[row], data.ctypes.data + bounds[place], size)
        sizes[row] = size
    return used


@compiled(entry=True)
def read(arena: Any, places: Any, sizes: Any, rows: Any, out: Any, starts: Any) -> None:
    """Copy the records of rows to their starts in `out`; a row of -1 is left out."""
    for place in range(len(rows)):
        row = rows[place]
        if row >= 0:
            memcpy(
                out.ctypes.data + starts[place],
                arena.ctypes.data + places[row],
                sizes[row],
            )
