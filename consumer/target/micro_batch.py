"""Rows and micro-batches in columns: what waits for Target, and what was sealed.

A frame has the columns `SCHEMA`, one line per row: visitor, partition and offset of the
profile record, its origin, its timestamp (milliseconds since the epoch) and the encoded
row. `origin` is `READ`, or the number of the batch whose failure had it read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from consumer.target.offsets import Span

READ: Final = 0
"""Origin of a row that was read in the stream; its offset bounds the commit."""


SCHEMA: Final = {
    "visitor": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "origin": pl.Int32,
    "timestamp": pl.Int64,
    "row": pl.Binary,
}
KEYS: Final = ("visitor", "partition", "offset", "origin", "timestamp")
"""The columns of `SCHEMA` but the row itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a micro-batch is sealed, and how many bytes may wait before it is full.

    It is due with `max_rows`; until it is sealed it grows, to at most `most_rows`.
    `max_bytes` counts the file with its header; `max_age` is in seconds.
    """

    max_rows: int
    most_rows: int
    max_bytes: int
    max_age: float
    capacity: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A micro-batch that takes no more rows.

    `keys` are the columns `KEYS`, `rows` the encoded lines in the same order.
    """

    number: int
    keys: pl.DataFrame
    rows: pa.LargeBinaryArray
    spans: Mapping[int, Span]
    origins: frozenset[int]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.keys)

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that its rows are from."""
        return frozenset(self.spans)


def frame(
    visitors: pa.Array,
    partition: int,
    offsets: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    rows: pa.LargeBinaryArray,
) -> pl.DataFrame:
    """Make the columns of `SCHEMA` from one partition's encoded rows, in its order."""
    return pl.DataFrame(
        {
            "visitor": pl.Series(visitors),
            "partition": pl.Series(np.full(len(offsets), partition, np.int32)),
            "offset": pl.Series(offsets),
            "origin": pl.Series(np.full(len(offsets), READ, np.int32)),
            "timestamp": pl.Series(timestamps),
            "row": pl.Series(rows),
        },
        schema=SCHEMA,
    )


def encoded_bytes(rows: pl.DataFrame) -> int:
    """Return the bytes of the encoded rows of a frame."""
    return int(rows["row"].bin.size().cast(pl.Int64).sum())


def lines(rows: pl.DataFrame) -> pa.LargeBinaryArray:
    """Lay the encoded rows out end to end."""
    lines = rows["row"].rechunk().to_arrow()
    return lines.cast(pa.large_binary())
