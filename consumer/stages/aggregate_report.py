"""What the aggregate stage tells of itself: metrics, status page, health, log lines.

Used by the stage's thread only. It is told facts once a batch, never once an event.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from consumer.stages.loop_report import LoopReport
from consumer.telemetry.status import PartitionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from consumer.stages.batch import OpenPartition, PartitionOutput, Prepared
    from consumer.stages.lifecycle import Partitions
    from consumer.telemetry.health import Component
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

log = structlog.get_logger(__name__)

SHOW_SECONDS: Final = 1.0
MEASURE_SECONDS: Final = 30.0
TELL_SECONDS: Final = 10.0
_BLOCK: Final = 512  # bytes, whatever the file system's own blocks are
_STAGE: Final = "aggregate"


class AggregateReport(LoopReport):
    """Writes down what became of records, batches and partitions."""

    def __init__(
        self,
        metrics: Metrics,
        board: StatusBoard,
        health: Component,
        state_dir: Path,
    ) -> None:
        """Have nothing shown yet."""
        super().__init__(metrics, _STAGE, health)
        self._board = board
        self._state_dir = state_dir
        self._shown_at = self._measured_at = self._told_at = float("-inf")

    def committed(self, prepared: Prepared) -> None:
        """Record what a committed batch was."""
        metrics = self._metrics
        counts = prepared.verdicts.counts()
        for outcome, count in counts.items():
            metrics.records.labels(outcome.label).inc(count)
        if prepared.erased:
            metrics.filtered_events.labels("erased").inc(prepared.erased)
        metrics.conflicts.inc(len(prepared.verdicts.conflicts))
        self.refused(prepared.verdicts)
        written = sum(len(output.profiles) for output in prepared.outputs.values())
        metrics.profiles_written.inc(written)
        metrics.batch_records.observe([len(prepared.records)])
        metrics.batch_visitors.observe([written])
        ages = time.time() - prepared.records.timestamps / 1000
        metrics.event_to_committed.observe(np.maximum(0.0, ages))
        log.debug(
            "batch committed",
            records=len(prepared.records),
            profiles=written,
            **{outcome.label: count for outcome, count in counts.items()},
        )

    def erased(self, outputs: Mapping[int, PartitionOutput]) -> None:
        """Record what was written to erase visitors."""
        for output in outputs.values():
            gone = len(output.changes.gone)
            self._metrics.erased_profiles.labels("erased").inc(
                len(output.profiles) - gone
            )
            self._metrics.erased_profiles.labels("deleted").inc(gone)

    def ticked(self, outputs: Mapping[int, PartitionOutput]) -> None:
        """Record what was written because a day has passed."""
        for output in outputs.values():
            gone = len(output.changes.gone)
            self._metrics.ticked_profiles.labels("slid").inc(
                len(output.profiles) - gone
            )
            self._metrics.ticked_profiles.labels("expired").inc(gone)

    def show(
        self,
        partitions: Partitions,
        ends: Mapping[int, int],
        held: Mapping[int, str],
        *,
        waiting: bool,
    ) -> None:
        """Tell where the partitions are; `waiting` while some have yet to be taken.

        `held` are those that wait for something outside, and what for.
        """
        self._health.degrade(
            {f"partition {n}": f"waits: {why}" for n, why in held.items()}
            | {f"partition {n}": str(halt) for n, halt in partitions.halted.items()}
        )
        now = time.monotonic()
        progress = partitions.progress()
        if progress:
            self._restoring(progress, now)
        elif not waiting:
            self._health.ready()
        if now - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = now
        for number, running in partitions.running.items():
            state = "waits: " + held[number] if number in held else "running"
            self._show_running(running, ends.get(number), state)
        for number, (done, left) in progress.items():
            self._metrics.restore_remaining_records.labels(str(number)).set(left)
            restored = done / max(1, done + left)
            self._board.partition(
                PartitionStatus(_STAGE, number, "restoring", restored=restored)
            )
        for number, halt in partitions.halted.items():
            state = f"halted: {halt.reason}"
            self._board.partition(PartitionStatus(_STAGE, number, state))
        if now - self._measured_at >= MEASURE_SECONDS:
            self._measured_at = now
            self._metrics.store_bytes.set(_disk_bytes(self._state_dir))

    def _restoring(self, progress: Mapping[int, tuple[int, int]], now: float) -> None:
        """Tell how far a restore is, records done and left by partition."""
        done = sum(part[0] for part in progress.values())
        left = sum(part[1] for part in progress.values())
        share = f"{done / max(1, done + left):.0%}"
        self._health.wait(f"restoring {len(progress)} partitions, {share} done")
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            log.info("restoring", partitions=len(progress), records=done, left=left)

    def _show_running(
        self, partition: OpenPartition, end: int | None, state: str
    ) -> None:
        """Show a partition; its lag only where something has been fetched."""
        number, position = partition.number, partition.position
        place = _STAGE, str(number)
        lag = age = None
        if end is not None:
            lag = max(0, end - position.next_offset)
            self._metrics.lag_records.labels(*place).set(lag)
            if position.stream_time > 0 or not lag:
                last = position.clock.reached / 1000
                age = max(0.0, time.time() - last) if lag else 0.0
                self._metrics.lag_seconds.labels(*place).set(age)
        self._board.partition(
            PartitionStatus(_STAGE, number, state, position.next_offset, lag, age)
        )


def _disk_bytes(folder: Path) -> int:
    """Add up what the files below a folder take on disk: LMDB's files are sparse."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * _BLOCK
        except FileNotFoundError:  # a store that was just discarded
            continue
    return total
