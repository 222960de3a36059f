"""The last minute in one log line, and the samples behind the status page's lines.

Reads the counters every few seconds; the stages know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import Counter, Gauge

    from consumer.clock import Clock
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

SAMPLE_SECONDS: Final = 5.0
SUMMARY_SECONDS: Final = 60.0

log = get_logger(__name__)


class History:
    """Samples until cancelled; `run` is its loop."""

    def __init__(self, metrics: Metrics, board: StatusBoard, clock: Clock) -> None:
        """Know of no sample yet."""
        self._metrics = metrics
        self._board = board
        self._clock = clock
        self._before: Mapping[str, float] = {}

    async def run(self) -> None:
        """Sample every few seconds, sum up every minute."""
        due = self._clock.monotonic() + SUMMARY_SECONDS
        self._before = self._sample()
        while True:
            await self._clock.sleep(SAMPLE_SECONDS)
            totals = self._sample()
            if self._clock.monotonic() >= due:
                due += SUMMARY_SECONDS
                self._sum_up(totals)

    def _sample(self) -> Mapping[str, float]:
        totals = self.totals()
        self._board.sample(totals)
        return totals

    def totals(self) -> dict[str, float]:
        """Give the counters' sums that are shown and logged."""
        metrics = self._metrics
        outcomes = _by(metrics.records, "outcome")
        return {
            "records": sum(outcomes.values()),
            **outcomes,
            "profiles": _sum(metrics.profiles_written),
            "rows": _by(metrics.upload_rows, "outcome").get("accepted", 0.0),
            "files": _by(metrics.upload_batches, "outcome").get("accepted", 0.0),
            "confirmed": _sum(metrics.confirmed_rows),
            "calls": _sum(metrics.calls),
            "retries": _sum(metrics.retries),
        }

    def _sum_up(self, totals: Mapping[str, float]) -> None:
        moved = {name: int(totals[name] - self._before[name]) for name in totals}
        self._before = totals
        log.info(
            "The last minute.",
            **moved,
            lag=int(_sum(self._metrics.lag_records)),
            halted=int(_sum(self._metrics.partition_halted)),
        )


def _sum(metric: Counter | Gauge) -> float:
    return sum(s.value for family in metric.collect() for s in family.samples)


def _by(metric: Counter, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in metric.collect()
        for sample in family.samples
    }
