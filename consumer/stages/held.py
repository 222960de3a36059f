"""Partitions that wait for something outside, each for itself.

    running --(`hold`: paused, its position stays)--> held --(after a while)--> running

Nothing of a held partition is lost or skipped: it goes on at its position, and is held
again if what it waits for is still not there. The others flow meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from consumer.frames import Records, Verdicts
    from consumer.kafka.input import InputConsumer

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a partition is held, and until when (monotonic)."""

    why: str
    until: float


class HeldPartitions:
    """Holds partitions and lets them go on; used by the stage's thread only."""

    def __init__(self, source: InputConsumer) -> None:
        """Hold none."""
        self._source = source
        self._holds: dict[int, Hold] = {}

    def why(self) -> dict[int, str]:
        """Give the partitions that are held, and why."""
        return {number: hold.why for number, hold in self._holds.items()}

    def hold(self, waits: Mapping[int, str], now: float) -> None:
        """Let nothing of these partitions come for a while; say why."""
        if not waits:
            return
        self._source.pause(waits)
        for number, why in waits.items():
            log.warning("a partition waits", partition=number, what=why)
            self._holds[number] = Hold(why, now + RETRY_SECONDS)

    def release(self, next_offsets: Mapping[int, int], now: float) -> None:
        """Let those that have waited long enough go on from their position."""
        due = [n for n, hold in self._holds.items() if hold.until <= now]
        self.forget(due)
        offsets = {n: next_offsets[n] for n in due if n in next_offsets}
        if offsets:
            self._source.start(offsets)

    def forget(self, numbers: Iterable[int]) -> None:
        """Hold these no longer: they have left, or start anew."""
        for number in list(numbers):
            self._holds.pop(number, None)


def waiting(
    records: Records, verdicts: Verdicts
) -> tuple[dict[int, str], NDArray[np.bool_]]:
    """Give the partitions that wait, for what, and flag their rows from there on."""
    waits: dict[int, str] = {}
    rows = np.zeros(len(records), bool)
    for row in sorted(verdicts.held):
        number = int(records.partitions[row])
        if number not in waits:
            waits[number] = verdicts.held[row]
            mine = records.partitions == number
            rows |= mine & (records.offsets >= records.offsets[row])
    return waits, rows
