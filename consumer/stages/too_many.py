"""Halts partitions of which too many records become dead letters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from consumer.errors import PartitionHalt
from consumer.events.dead_letter_limits import tallied
from consumer.frames import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from consumer.events.dead_letter_limits import Beyond, DeadLetterLimits
    from consumer.frames import Records, Tally, Verdicts


def count_dead_letters(
    records: Records,
    verdicts: Verdicts,
    tallies: Mapping[int, Tally],
    limits: DeadLetterLimits | None,
) -> tuple[dict[int, Tally], dict[int, PartitionHalt], NDArray[np.bool_]]:
    """Count on from `tallies`; gives halts and the rows that they leave unread."""
    after: dict[int, Tally] = {}
    halts: dict[int, PartitionHalt] = {}
    cut = np.zeros(len(records), bool)
    if limits is None:
        return after, halts, cut
    refused = verdicts.outcomes == Outcome.DEAD_LETTERED
    for number in np.unique(records.partitions).tolist():
        rows = np.flatnonzero(records.partitions == number)
        after[number], beyond = tallied(tallies[number], refused[rows], limits)
        if beyond is not None:
            cut[rows[beyond.row :]] = True
            row = int(rows[beyond.row])
            halts[number] = _too_many(beyond, row, records, verdicts)
    return after, halts, cut


def _too_many(
    beyond: Beyond, row: int, records: Records, verdicts: Verdicts
) -> PartitionHalt:
    (letter,) = [one for one in verdicts.dead_letters if one.row == row]
    return PartitionHalt(
        "too_many_dead_letters",
        "Mend the cause (`pos-consumer dead-letters list` shows what was kept), or "
        "raise the limits in [dead_letters] to let these records go; then restart.",
        what=f"Partition {records.partitions[row]} had {beyond.what}, and the record "
        f"at offset {records.offsets[row]} would be one more "
        f"({letter.reason}): {letter.sentence}",
    )
