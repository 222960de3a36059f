"""Which records of one partition of `profiles` are their visitor's latest. Pure.

Keys, offsets, times and sizes of all its records enter, in their order; the offsets to
be sent anew leave. Only these columns are kept, some 40 bytes a visitor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

TOMBSTONE: Final = -1
"""As a size: the record removes its key."""

_COMPACT_AT: Final = 1_000_000  # records
_SCHEMA: Final = {
    "key": pl.UInt64,
    "offset": pl.Int64,
    "timestamp": pl.Int64,
    "size": pl.Int32,
    "wanted": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Whose rows are to be sent anew; what is not given does not restrict.

    `visitors` are ids, `before` milliseconds since the epoch: profiles that have
    changed since are left out. `part` is (n, of): the n-th of so many parts of all
    visitors, always the same ones.
    """

    visitors: frozenset[str] | None = None
    before: int | None = None
    part: tuple[int, int] | None = None

    def wants(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Tell for each key whether it is one of these visitors."""
        wanted = np.ones(len(keys), np.bool_)
        if self.visitors is not None:
            named = {visitor.encode() for visitor in self.visitors}
            wanted &= np.fromiter((key in named for key in keys), np.bool_, len(keys))
        if self.part is not None:
            number, of = self.part
            drawn = np.fromiter(map(crc32, keys), np.uint64, len(keys))
            wanted &= (drawn * np.uint64(of) >> np.uint64(32)) == number
        return wanted


class Latest:
    """Finds each visitor's latest record; `add` in the order of the partition.

    Keys are told apart by 64 bits: of ten million visitors two share theirs with a
    chance of one in 300,000; then one of them is not sent anew.
    """

    def __init__(self, selection: Selection) -> None:
        """Know of no record yet."""
        self._selection = selection
        self._found = pl.DataFrame(schema=_SCHEMA)
        self._fresh: list[pl.DataFrame] = []
        self._rows = 0

    def add(
        self,
        keys: Sequence[bytes],
        offsets: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        sizes: NDArray[np.int32],
    ) -> None:
        """Take records; a size is that of the value, or `TOMBSTONE`."""
        columns = {
            "key": pl.Series(keys, dtype=pl.Binary).hash(),
            "offset": offsets,
            "timestamp": timestamps,
            "size": sizes,
            "wanted": self._selection.wants(keys),
        }
        self._fresh.append(pl.DataFrame(columns, schema=_SCHEMA))
        self._rows += len(keys)
        if self._rows >= _COMPACT_AT:
            self._compact()

    def chosen(self, start: int = 0) -> pl.DataFrame:
        """Return `offset` and `size` of what is to be sent, from an offset on."""
        self._compact()
        chosen = pl.col("wanted") & (pl.col("size") >= 0) & (pl.col("offset") >= start)
        if self._selection.before is not None:
            chosen &= pl.col("timestamp") < self._selection.before
        return self._found.filter(chosen).select("offset", "size").sort("offset")

    def _compact(self) -> None:
        rows = pl.concat([self._found, *self._fresh])
        self._found = rows.unique("key", keep="last", maintain_order=True)
        self._fresh, self._rows = [], 0


def chunks(
    chosen: pl.DataFrame, most_rows: int, most_bytes: int
) -> Iterator[NDArray[np.int64]]:
    """Cut the chosen offsets into parts of at most so many rows and bytes, never 0."""
    offsets = chosen["offset"].to_numpy()
    ends = np.cumsum(chosen["size"].to_numpy().astype(np.int64))
    at = 0
    while at < len(offsets):
        before = ends[at - 1] if at else 0
        fit = int(np.searchsorted(ends, before + most_bytes, side="right"))
        end = max(at + 1, min(fit, at + most_rows))
        yield offsets[at:end]
        at = end


def ranges(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Write ascending offsets as ranges, first and last included."""
    cuts = np.flatnonzero(np.diff(offsets) > 1)
    firsts = offsets[np.concatenate(([0], cuts + 1))]
    lasts = offsets[np.concatenate((cuts, [len(offsets) - 1]))]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
