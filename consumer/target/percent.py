"""Columns of text to the lines of a batch file, percent-encoded, in one pass.

Each cell equals `urllib.parse.quote(cell, safe="")`: the unreserved characters of RFC
3986 stay, every other byte of the UTF-8 becomes `%XX`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from consumer.compiled import sealed
from consumer.target.percent_kernel import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

UNRESERVED: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
)
_BYTES: Final = np.arange(256)
_DIGITS: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_KEPT: Final = sealed(np.isin(_BYTES, np.frombuffer(UNRESERVED, np.uint8)))
_HIGH: Final = sealed(_DIGITS[_BYTES >> 4])
_LOW: Final = sealed(_DIGITS[_BYTES & 15])
_WIDEST: Final = 3  # bytes that one may become


def lines(columns: Sequence[pa.Array]) -> pa.LargeBinaryArray:
    """Encode one line a row: its cells between commas, null as empty, a line break.

    The columns, at least one, are `string` or `large_string`, and as long as another.
    """
    rows = len(columns[0])
    cells = pa.concat_arrays([_filled(column) for column in columns])
    _, offsets, content = cells.buffers()
    bounds = np.frombuffer(offsets, np.int64)[cells.offset :][: len(cells) + 1]
    # Arrow leaves the buffer out where no cell holds a byte
    data = np.frombuffer(b"" if content is None else content, np.uint8)
    room = _WIDEST * int(bounds[-1] - bounds[0]) + len(cells)
    out = np.empty(room, np.uint8)
    ends = np.zeros(rows + 1, np.int64)
    tables = _KEPT, _HIGH, _LOW
    write_lines(sealed(data), sealed(bounds), len(columns), *tables, out, ends)
    # copied, so that what waits does not hold on to the room that was not needed
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]].copy())]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), rows, buffers)


def warm() -> None:
    """Compile, or load what was compiled: seconds, the first time on a machine."""
    lines([pa.array([], pa.string())])


def _filled(column: pa.Array) -> pa.Array:
    cells = column.cast(pa.large_string())
    return cells.fill_null("") if cells.null_count else cells
