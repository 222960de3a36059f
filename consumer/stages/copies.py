"""Copies of refused records, for whoever judges the originals anew.

`dead-letters replay` writes a record again that was refused. Who folds the topic as it
comes counts the copy: the original was none. But who begins anew, as a rebuild does,
may fold the original now that all is mended, and must not count the copy as well. The
control topic says which records are copies, so nothing is asked of a record itself, and
where none was replayed nothing is done at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consumer.frames import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from consumer.frames import Events, Records, Verdicts
    from consumer.kafka.control_records import ControlView


@dataclass(frozen=True, slots=True)
class Copies:
    """The offsets of copies by partition, sorted."""

    offsets: Mapping[int, NDArray[np.int64]]

    @classmethod
    def of(
        cls, view: ControlView, topic_id: str, begins: Mapping[int, int]
    ) -> Copies | None:
        """Take those whose originals are judged by who begins there; None if none."""
        found = {}
        for partition, begin in begins.items():
            replayed = view.replayed(topic_id, partition)
            copies = [copy for origin, copy in replayed.items() if origin >= begin]
            if copies:
                found[partition] = np.array(sorted(copies), np.int64)
        return cls(found) if found else None

    def leave_out(
        self, records: Records, events: Events | None, verdicts: Verdicts
    ) -> Events | None:
        """Make copies duplicates, whatever they are; gives the other events."""
        flagged = np.zeros(len(records), bool)
        for partition, offsets in self.offsets.items():
            mine = records.partitions == partition
            flagged |= mine & np.isin(records.offsets, offsets)
        rows = np.flatnonzero(flagged)
        if not len(rows):
            return events
        letters = verdicts.dead_letters
        verdicts.dead_letters = [one for one in letters if not flagged[one.row]]
        verdicts.mark(rows, Outcome.DUPLICATE)
        return None if events is None else events.where(~flagged[events.records])
