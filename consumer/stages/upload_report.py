"""What the upload stage tells of itself beyond plain counters: lags, batches, latency.

Used on the event loop, but for `taken` and `regressions`, which run on the worker.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.telemetry.status import PartitionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    import pyarrow as pa
    from numpy.typing import NDArray

    from consumer.clock import Clock
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

_STAGE: Final = "upload"
_MILLISECONDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Times:
    """When the events of many rows were recorded: whole seconds, and rows of each.

    A file of 500,000 rows is some hundred numbers, so it can be kept until its end.
    """

    seconds: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def by_partition(cls, keys: pl.DataFrame) -> dict[int, Times]:
        """Take them from a frame with the columns `partition` and `timestamp`."""
        return {
            int(number): cls(*_counted(part["timestamp"].to_numpy()))
            for (number,), part in keys.group_by("partition")
        }


@dataclass(slots=True)
class _Marks:
    """Where batches of one partition end, each with its oldest event's time."""

    marks: deque[tuple[int, int]] = field(default_factory=deque)
    last: int | None = None


class UploadReport:
    """Shows partitions and calls, and tells how old rows are at each turn."""

    def __init__(self, metrics: Metrics, board: StatusBoard, clock: Clock) -> None:
        """Know of no partition yet."""
        self._metrics = metrics
        self._board = board
        self._clock = clock
        self._marks: dict[int, _Marks] = {}
        self.board = board

    def budget(self, calls_per_minute: int, partitions: int) -> None:
        """Tell what all replicas share."""
        self._metrics.budget_calls_per_minute.set(calls_per_minute)
        self._metrics.partitions.labels(_STAGE).set(partitions)
        self._board.budget = calls_per_minute

    def call(self, kind: str) -> None:
        """Count a call to Target that is about to be made."""
        self._metrics.calls.labels(kind).inc()
        self._board.call()

    def taken(self, partition: int, next_offset: int, times: NDArray[np.int64]) -> None:
        """Note profiles that were taken in, and how old their events are."""
        if len(times):
            marks = self._marks.setdefault(partition, _Marks())
            marks.last = int(times.min())
            marks.marks.append((next_offset, marks.last))

    def lags(self, lags: Mapping[int, int], offsets: Mapping[int, int]) -> None:
        """Show what has not been accepted by Target, from these next offsets on."""
        now = self._clock.now()
        for partition, records in lags.items():
            place = _STAGE, str(partition)
            self._metrics.lag_records.labels(*place).set(records)
            oldest = self._oldest(partition, offsets[partition])
            age = 0.0
            if records and oldest is not None:
                age = max(0.0, now - oldest / _MILLISECONDS)
            self._metrics.lag_seconds.labels(*place).set(age)
            self._board.partition(
                PartitionStatus(
                    _STAGE, partition, "running", offsets[partition], records, age
                )
            )

    def assigned(self, partition: int) -> None:
        """Show a partition that is ours now."""
        self._metrics.partition_assigned.labels(_STAGE, str(partition)).set(1)
        self._board.partition(PartitionStatus(_STAGE, partition, "taking over"))

    def halted(self, partition: int, reason: str) -> None:
        """Show a partition that waits for a person."""
        self._metrics.partition_halted.labels(_STAGE, str(partition), reason).set(1)
        self._board.partition(PartitionStatus(_STAGE, partition, f"halted: {reason}"))

    def forget(self, partition: int) -> None:
        """Stop showing a partition that has left."""
        self._metrics.forget_partition(_STAGE, partition)
        self._board.forget(_STAGE, partition)
        self._marks.pop(partition, None)

    def confirmed(self, times: Mapping[int, Times], partitions: Sequence[int]) -> None:
        """Count the rows of a complete batch, of the partitions that are ours."""
        now = self._clock.now()
        for partition in partitions:
            if (found := times.get(partition)) is not None:
                ages = np.maximum(0.0, now - found.seconds.astype(np.float64))
                self._metrics.event_to_confirmed.observe(ages, found.rows)
                self._metrics.confirmed_rows.inc(int(found.rows.sum()))

    def regressions(
        self, visitors: pa.Array, versions: pa.Array, values: Sequence[bytes]
    ) -> int:
        """Count profiles of one batch that go back behind one before; how many."""
        codes = visitors.dictionary_encode()
        if len(codes.dictionary) == len(codes):
            return 0
        number = codes.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(number, kind="stable")
        again = np.diff(number[order]) == 0
        steps = np.diff(versions.to_numpy(zero_copy_only=False)[order])
        back = int(np.count_nonzero(again & (steps < 0)))
        equal = np.flatnonzero(again & (steps == 0)).tolist()
        twice = sum(values[order[row]] != values[order[row + 1]] for row in equal)
        self._metrics.version_regressions.labels("back").inc(back)
        self._metrics.version_regressions.labels("repeated").inc(twice)
        return back + int(twice)

    def _oldest(self, partition: int, next_offset: int) -> int | None:
        """Return the time of the oldest event from an offset on, as far as known."""
        marks = self._marks.get(partition)
        if marks is None:
            return None
        while marks.marks and marks.marks[0][0] <= next_offset:
            marks.marks.popleft()
        return marks.marks[0][1] if marks.marks else marks.last


def _counted(
    timestamps: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.unique(timestamps // _MILLISECONDS, return_counts=True)
