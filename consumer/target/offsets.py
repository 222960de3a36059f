"""Which offsets may be committed, and how a batch's offsets are written down.

The one place that owns the rule: an offset is passed only if its visitor's newest known
row is accepted by Target, or lies further on and is still pending, or if the record
holds nothing to send (a tombstone, a rejected row). All pure arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_RANGES: Final = 2_000
"""Ranges of one ledger entry, so that it stays far below a record's usual 1 MB."""

WIDEST_GAP: Final = 10_000
"""Offsets between two rows that a range may span; reading them again is cheap."""

FEW_RANGES: Final = 256
"""So many ranges are always afforded: rows that lie between two of a batch are then
not taken for its own where it is followed up, as with a few visitors sent anew."""

Range = tuple[int, int]
"""First and last offset, both included."""


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one partition that a batch accounts for.

    `rows` counts its rows there. `exact`: every offset within `ranges` is accounted for
    by the batch or superseded by a later one, so a record read again there need not be
    sent again. Otherwise the ranges hold other rows too and only say where to look.
    """

    rows: int
    ranges: tuple[Range, ...]
    exact: bool = True

    def holds(self, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each offset whether it lies within the ranges."""
        firsts = np.array([first for first, _ in self.ranges], np.int64)
        lasts = np.array([last for _, last in self.ranges], np.int64)
        place = np.searchsorted(firsts, offsets, side="right") - 1
        return (place >= 0) & (offsets <= lasts[np.maximum(place, 0)])


def next_offsets(seen: Mapping[int, int], live: pl.DataFrame) -> dict[int, int]:
    """Return for each partition the offset to commit: the next one to read.

    `seen` is the offset after the last record taken in, by partition. `live` holds
    `partition` and `offset` of every row that is neither accepted nor superseded.
    """
    first = dict(live.group_by("partition").agg(pl.col("offset").min()).iter_rows())
    return {
        partition: min(end, first.get(partition, end))
        for partition, end in seen.items()
    }


def span(offsets: NDArray[np.int64], others: NDArray[np.int64]) -> Span:
    """Write a batch's offsets in one partition as ranges.

    `others` are the offsets of rows that are still to be sent by other batches: no
    range reaches over one of them, unless there would be too many ranges.
    """
    mine = np.sort(offsets)
    section = np.searchsorted(np.sort(others), mine)
    gap = np.diff(mine)
    breaks = (np.diff(section) != 0) | (gap > WIDEST_GAP)
    if (left := FEW_RANGES - 1 - np.count_nonzero(breaks)) > 0:
        free = np.flatnonzero(~breaks & (gap > 1))
        breaks[free[np.argsort(-gap[free], kind="stable")[:left]]] = True
    cuts = np.flatnonzero(breaks)
    exact = len(cuts) < MOST_RANGES
    if not exact:  # keep the widest gaps only
        widest = np.argsort(gap[cuts], kind="stable")[-(MOST_RANGES - 1) :]
        cuts = np.sort(cuts[widest])
    firsts = mine[np.concatenate(([0], cuts + 1))]
    lasts = mine[np.concatenate((cuts, [len(mine) - 1]))]
    ranges = tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))
    return Span(rows=len(mine), ranges=ranges, exact=exact)
