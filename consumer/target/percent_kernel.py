"""The loop of `percent`, compiled: cells to lines of percent-encoded cells."""

# ruff: noqa: ANN401, PLR0913, PLR0917
# numba infers types, compiles functions of arrays and numbers, and knows no objects.
from __future__ import annotations

from typing import Any, Final

import numpy as np

from consumer.compiled import compiled

PERCENT: Final = ord("%")
COMMA: Final = ord(",")
END: Final = ord("\n")
# Places are unsigned: a signed one is looked at first, it might count from the end.
ONE: Final = np.uint64(1)
TWO: Final = np.uint64(2)
THREE: Final = np.uint64(3)


@compiled(entry=True)
def write_lines(
    data: Any,
    bounds: Any,
    columns: int,
    kept: Any,
    high: Any,
    low: Any,
    out: Any,
    ends: Any,
) -> None:
    """Write a line a row into `out`, which has room.

    Cell `row` of column `c` are the bytes of `data` from `bounds[c * rows + row]` to
    the next bound. `kept` tells the bytes that stay, `high` and `low` give the two
    digits of the others. `ends[row + 1]` becomes the place after a row's line.
    """
    rows = np.uint64((len(bounds) - 1) // columns)
    at = np.uint64(0)
    for row in range(rows):
        for column in range(np.uint64(columns)):
            cell = column * rows + row
            for place in range(np.uint64(bounds[cell]), np.uint64(bounds[cell + ONE])):
                byte = data[place]
                if kept[byte]:
                    out[at] = byte
                    at += ONE
                else:
                    out[at] = PERCENT
                    out[at + ONE] = high[byte]
                    out[at + TWO] = low[byte]
                    at += THREE
            out[at] = COMMA
            at += ONE
        out[at - ONE] = END
        ends[row + ONE] = at
