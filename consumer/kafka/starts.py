"""Holds a consumer to the offsets that it was told to start from. Pure.

A client that begins to read beyond its start skips records in silence. That a first
record lies further on can be right: control records and compaction leave gaps. So a
partition that begins too late is sent back once, and is believed when it begins at the
same place again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from consumer.frames import Records


class Starts:
    """Remembers the starts whose first records have not come yet."""

    def __init__(self) -> None:
        """Expect nothing."""
        self._awaited: dict[int, int] = {}
        self._claimed: dict[int, int] = {}

    def expect(self, partition: int, offset: int) -> None:
        """Await the first record of a partition, at `offset` or after a gap."""
        self._awaited[partition] = offset
        self._claimed.pop(partition, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """Await nothing of partitions that have left."""
        for partition in partitions:
            self._awaited.pop(partition, None)
            self._claimed.pop(partition, None)

    def judge(
        self, records: Records
    ) -> tuple[NDArray[np.bool_] | None, dict[int, int]]:
        """Tell which records to keep, None for all, and where to go back to.

        The records of a partition that is sent back are not kept.
        """
        if not self._awaited:
            return None, {}
        back: dict[int, int] = {}
        kept = np.ones(len(records), bool)
        for partition in np.unique(records.partitions).tolist():
            start = self._awaited.get(partition)
            if start is None:
                continue
            mine = records.partitions == partition
            first = int(records.offsets[np.argmax(mine)])
            if first > start and self._claimed.get(partition) != first:
                self._claimed[partition] = first
                back[partition] = start
                kept &= ~mine
            else:
                self.forget([partition])
                # What lies before the start was worked by whoever set it.
                kept &= ~(mine & (records.offsets < start))
        return (None if kept.all() else kept), back
