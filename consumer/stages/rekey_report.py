"""What the rekey stage tells of itself: metrics, status page, health, log lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from consumer.stages.loop_report import LoopReport
from consumer.telemetry.status import PartitionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.stages.rekey_positions import SourcePositions
    from consumer.stages.rekeying import Rekeyed
    from consumer.telemetry.health import Component
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

SHOW_SECONDS: Final = 1.0
_STAGE: Final = "rekey"


class RekeyReport(LoopReport):
    """Writes down what became of records and partitions."""

    def __init__(self, metrics: Metrics, board: StatusBoard, health: Component) -> None:
        """Have nothing shown yet."""
        super().__init__(metrics, _STAGE, health)
        self._board = board
        self._shown: dict[int, str] = {}
        self._shown_at = float("-inf")

    def committed(self, rekeyed: Rekeyed) -> None:
        """Count what went on, and what ended here."""
        metrics = self._metrics
        metrics.rekeyed_records.inc(len(rekeyed.rows))
        for outcome, count in rekeyed.ended().items():
            metrics.records.labels(outcome.label).inc(count)
        self.refused(rekeyed.verdicts)

    def show(
        self,
        positions: SourcePositions,
        ends: Mapping[int, int],
        held: Mapping[int, str],
        *,
        waiting: bool,
    ) -> None:
        """Tell where the partitions are; `waiting` while some have yet to be taken.

        `held` are partitions that wait for something outside, and for what.
        """
        self._health.degrade(
            {f"partition {n}": str(halt) for n, halt in positions.halted.items()}
            | {f"partition {n}": why for n, why in held.items()}
        )
        if positions.restoring:
            self._health.wait(f"finding {len(positions.restoring)} positions")
        elif not waiting:
            self._health.ready()
        now = time.monotonic()
        if now - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = now
        present = dict.fromkeys(positions.running, "running")
        present |= {n: "waiting" for n in held if n in present}
        present |= {n: f"halted: {h.reason}" for n, h in positions.halted.items()}
        for number in self._shown.keys() - present.keys():
            self._metrics.forget_partition(_STAGE, number)
            self._board.forget(_STAGE, number)
        for number, state in present.items():
            position = positions.running.get(number)
            at = None if position is None else position.next_offset
            self._show(number, state, at, ends.get(number))
        for number, halt in positions.halted.items():
            place = _STAGE, str(number), halt.reason
            self._metrics.partition_halted.labels(*place).set(1)
        self._shown = present

    def _show(self, number: int, state: str, at: int | None, end: int | None) -> None:
        lag = None if at is None or end is None else max(0, end - at)
        place = _STAGE, str(number)
        self._metrics.partition_assigned.labels(*place).set(1)
        if lag is not None:
            self._metrics.lag_records.labels(*place).set(lag)
        self._board.partition(PartitionStatus(_STAGE, number, state, at, lag))
