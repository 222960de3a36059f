"""When so many records are dead letters that the cause is elsewhere. Pure.

A single broken record is the record's fault; a thousand in a row are somebody's deploy.
Enters: which records of a partition were refused, in order. Leaves: the tally to go on
with, and the first record beyond a limit. The tally is part of the partition's
position, so the answer depends on the records alone: not on how they were cut into
batches, nor on restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consumer.frames import Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """How many dead letters may follow each other, and how many a window may hold.

    `in_a_row` 0 is no limit. A window is that many records of a partition, one behind
    the other; `ratio` is the share of them that may be dead letters.
    """

    in_a_row: int
    ratio: float
    window: int

    @property
    def in_a_window(self) -> int:
        """The most dead letters that one window may hold."""
        return int(self.ratio * self.window)


@dataclass(frozen=True, slots=True)
class Beyond:
    """The first record that no longer becomes a dead letter, and what it would be."""

    row: int
    what: str


def tallied(
    tally: Tally, refused: NDArray[np.bool_], limits: DeadLetterLimits
) -> tuple[Tally, Beyond | None]:
    """Count on through records of one partition; `refused` flags the dead letters.

    The tally is the one after all records, and of use only if none is beyond a limit.
    """
    count = len(refused)
    if not count:
        return tally, None
    ordinal = tally.records + np.arange(count)
    if not refused.any():
        same = bool(tally.records + count < limits.window)
        kept = tally.refused if same else 0
        return Tally(0, (tally.records + count) % limits.window, kept), None
    runs = _runs(refused, tally.in_a_row)
    held = _held(refused, ordinal % limits.window == 0, tally.refused)
    over_run = runs > limits.in_a_row if limits.in_a_row else np.zeros(count, bool)
    over = refused & (over_run | (held > limits.in_a_window))
    full = int(ordinal[-1] + 1) % limits.window == 0
    after = Tally(
        int(runs[-1]),
        int(ordinal[-1] + 1) % limits.window,
        0 if full else int(held[-1]),
    )
    if not over.any():
        return after, None
    row = int(np.argmax(over))
    if over_run[row]:
        return after, Beyond(row, f"{limits.in_a_row:,} dead letters in a row")
    among = f"{int(ordinal[row]) % limits.window + 1:,} records"
    return after, Beyond(row, f"{limits.in_a_window:,} dead letters among {among}")


def _runs(refused: NDArray[np.bool_], before: int) -> NDArray[np.int64]:
    """Count at each record the refused ones that end there without a gap."""
    place = np.arange(len(refused))
    sound = np.maximum.accumulate(np.where(refused, -1, place))
    runs: NDArray[np.int64] = place - sound + np.where(sound < 0, before, 0)
    return runs


def _held(
    refused: NDArray[np.bool_], begins: NDArray[np.bool_], before: int
) -> NDArray[np.int64]:
    """Count at each record the refused ones of its window so far."""
    total = np.cumsum(refused)
    at_begin = np.maximum.accumulate(np.where(begins, total - refused, -1))
    held: NDArray[np.int64] = total - np.where(at_begin < 0, -before, at_begin)
    return held
