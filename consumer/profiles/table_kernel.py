"""A hash table of records in flat arrays: the loops of `table`, compiled.

A key is two halves of a hash, `high` and `low`. `index` has a power of two of places: a
row number, or -1. Keys are looked up in their order, and lie in it in that order.
A row is a line of `lines`, all that is known of a record in one line of the processor's
cache: see the names of its columns. The record is in `arena`, from PLACE on: SIZE bytes
(-1: there is none) in ROOM bytes that are its own.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917
from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from consumer.compiled import compiled
from consumer.profiles.merge_kernel import memcpy

HIGH, LOW, PLACE, SIZE, ROOM, WRITTEN, DIRTY = range(7)
LINE = 8

memmove: Any = types.ExternalFunction(
    "memmove", types.uintp(types.uintp, types.uintp, types.uintp)
)


@compiled()
def _shift(index: Any) -> Any:
    """Give by how much the high half of a key is shifted to give its first place."""
    shift, places = np.uint64(64), len(index)
    while places > 1:
        places >>= 1
        shift -= np.uint64(1)
    return shift


@compiled()
def _place(index: Any, lines: Any, shift: Any, high: Any, low: Any) -> Any:
    """Give the place in the index that a key has, or would have."""
    mask = np.int64(len(index) - 1)
    at = np.int64(np.uint64(high) >> shift)
    row = index[at]
    while row >= 0 and not (lines[row, LOW] == low and lines[row, HIGH] == high):
        at = (at + 1) & mask
        row = index[at]
    return at


@compiled(entry=True)
def find(index: Any, lines: Any, high: Any, low: Any, rows: Any, sizes: Any) -> None:
    """Give each key's row, -1 where there is no record, and the size of its record."""
    shift = _shift(index)
    for place in range(len(high)):
        row = index[_place(index, lines, shift, high[place], low[place])]
        size = np.int64(-1) if row < 0 else lines[row, SIZE]
        rows[place] = -1 if size < 0 else row
        sizes[place] = max(size, 0)


@compiled(entry=True)
def put(
    index: Any,
    lines: Any,
    arena: Any,
    count: int,
    used: int,
    waiting: int,
    unwritten: int,
    high: Any,
    low: Any,
    data: Any,
    bounds: Any,
    now: int,
) -> tuple[int, int, int, int]:
    """Put a record at each key; gives the four numbers as they are then.

    `count` rows there are, `used` bytes of the arena are taken, `waiting` rows are
    dirty, which are `unwritten` bytes with their records. A record that outgrew its
    room moves to a larger one, at the end of the arena.
    """
    shift = _shift(index)
    for place in range(len(high)):
        at = _place(index, lines, shift, high[place], low[place])
        row = index[at]
        if row < 0:
            row = count
            index[at] = row
            lines[row, HIGH], lines[row, LOW] = high[place], low[place]
            lines[row, SIZE], lines[row, ROOM], lines[row, DIRTY] = -1, 0, 0
            count += 1
        size = bounds[place + 1] - bounds[place]
        if size > lines[row, ROOM]:
            lines[row, PLACE], lines[row, ROOM] = used, size + size // 4
            used += size + size // 4
        memcpy(
            arena.ctypes.data + lines[row, PLACE],
            data.ctypes.data + bounds[place],
            size,
        )
        if lines[row, DIRTY]:
            unwritten -= lines[row, SIZE]
        else:
            waiting += 1
            unwritten += 8 * LINE
        unwritten += size
        lines[row, SIZE], lines[row, WRITTEN], lines[row, DIRTY] = size, now, 1
    return count, used, waiting, unwritten


@compiled(entry=True)
def reindex(index: Any, lines: Any, count: int) -> None:
    """Enter all rows into an empty index."""
    mask = np.int64(len(index) - 1)
    shift = _shift(index)
    for row in range(count):
        at = np.int64(np.uint64(lines[row, HIGH]) >> shift)
        while index[at] >= 0:
            at = (at + 1) & mask
        index[at] = row


@compiled(entry=True)
def squeeze(lines: Any, arena: Any) -> int:
    """Close the gaps between records; gives how much of the arena is taken then.

    All lines have a record, and stand in the order of their places.
    """
    used = 0
    for row in range(len(lines)):
        begin = arena.ctypes.data
        memmove(begin + used, begin + lines[row, PLACE], lines[row, SIZE])
        lines[row, PLACE] = used
        used += lines[row, ROOM]
    return used


@compiled(entry=True)
def read(arena: Any, lines: Any, rows: Any, out: Any, starts: Any) -> None:
    """Copy the records of rows to their starts in `out`; a row of -1 is left out."""
    for place in range(len(rows)):
        row = rows[place]
        if row >= 0:
            memcpy(
                out.ctypes.data + starts[place],
                arena.ctypes.data + lines[row, PLACE],
                lines[row, SIZE],
            )


@compiled(entry=True)
def scatter(data: Any, bounds: Any, out: Any, starts: Any) -> None:
    """Copy each record of a buffer to its start in `out`."""
    for place in range(len(starts)):
        memcpy(
            out.ctypes.data + starts[place],
            data.ctypes.data + bounds[place],
            bounds[place + 1] - bounds[place],
        )
