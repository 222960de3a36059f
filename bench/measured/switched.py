"""The aggregate stage, now telling of itself, now not: what telling costs, twice.

Of two batches that follow each other one tells and one does not, in an order left to
chance, so that what disturbs the machine disturbs both alike. The median of their
differences is what telling costs a batch, side effects included; beside it stands what
`Telling` has timed of the same batches. Where the two agree, timing misses nothing.
Batches are small, so that there are many. What is told on other threads is in neither.
"""

from __future__ import annotations

import functools
import os
import time
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.measured.service_runs import run_service
from bench.measured.telling import Telling
from consumer.stages import loop_report
from consumer.stages.aggregate import AggregateStage
from consumer.stages.aggregate_report import AggregateReport
from consumer.stages.loop_report import LoopReport
from consumer.telemetry.laps import Laps

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.job import Run
    from consumer.frames import Records
    from consumer.service import Service
    from consumer.stages.batch import Prepared

MAX_BATCH: Final = "POS_CONSUMER__AGGREGATE__MAX_BATCH"
RECORDS: Final = 2_000
SKIPPED: Final = 20
"""Batches at the start that are not counted: caches are cold."""

SURE: Final = 0.98
"""Times the root of their number: so many places from the middle of the sorted pairs
the true median lies in 19 of 20 cases."""


def taken(_: LoopReport, records: Records) -> int:
    """Give the bytes, which bound the next batch; count nothing."""
    return loop_report.bytes_of(records)


def committed(report: AggregateReport, prepared: Prepared) -> None:
    """Count what the bench waits for."""
    for outcome, count in prepared.verdicts.counts().items():
        report._metrics.records.labels(outcome.label).inc(count)  # noqa: SLF001 - in its place


SILENT: Final[tuple[tuple[Any, str, Callable[..., Any]], ...]] = (
    (LoopReport, "taken", taken),
    (AggregateReport, "committed", committed),
    (AggregateStage, "_show", lambda _: None),
    *((Laps, name, lambda *_, **__: None) for name in ("to", "rename", "divide")),
)


class Switch:
    """Whether it tells now, and the CPU seconds of the stage's thread in each state."""

    def __init__(self, telling: Telling) -> None:
        """Begin telling."""
        self.on = True
        self._telling = telling
        self._random = Random(time.time_ns())
        self._began: tuple[float, float] | None = None
        self._batches: list[tuple[bool, float, float]] = []

    def batch(self) -> None:
        """Note what the last batch took, and say whether the next one tells."""
        now = time.thread_time(), self._telling.seconds
        if self._began is not None:
            spent, told = np.subtract(now, self._began)
            self._batches.append((self.on, spent, told))
        self._began = now
        second = len(self._batches) % 2
        self.on = not self.on if second else self._random.random() < 1 / 2

    def either(self, loud: Callable[..., Any], silent: Callable[..., Any]) -> Any:  # noqa: ANN401 - a method
        """Make a function that is one of the two, as the switch stands."""

        @functools.wraps(loud)
        def told(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it is
            return (loud if self.on else silent)(*arguments, **named)

        return told

    def found(self) -> dict[str, float]:
        """Give CPU µs a batch: the difference, its least and most, what was timed."""
        return differences(self._batches[SKIPPED:])


def differences(batches: list[tuple[bool, float, float]]) -> dict[str, float]:
    """Compare batches (whether they told, CPU seconds, those timed) pair by pair."""
    pairs = np.array(batches[: len(batches) // 2 * 2]).reshape(-1, 2, 3)
    sign = np.where(pairs[:, 0, 0] > 0, 1.0, -1.0)
    spent, timed = (sign * (pairs[:, 0, n] - pairs[:, 1, n]) * 1e6 for n in (1, 2))
    off = min(0.5, SURE / len(pairs) ** 0.5)
    least, middle, most = np.quantile(spent, (0.5 - off, 0.5, 0.5 + off))
    return {
        "difference_us": float(middle),
        "difference_least_us": float(least),
        "difference_most_us": float(most),
        "timed_us": float(np.median(timed)),
        "batch_us": float(np.median(pairs[:, :, 1]) * 1e6),
        "pairs": float(len(pairs)),
    }


def main(run: Run) -> None:
    """Fold the whole topic into profiles, now telling, now not."""
    os.environ[MAX_BATCH] = str(RECORDS)
    telling = Telling()
    telling.listen()
    switch = Switch(telling)
    for place, name, silent in SILENT:
        setattr(place, name, switch.either(getattr(place, name), telling.timed(silent)))
    consumed = AggregateStage._consumed  # noqa: SLF001 - where a batch begins

    def counted(stage: AggregateStage, records: Records) -> None:
        switch.batch()
        consumed(stage, records)

    setattr(AggregateStage, "_consumed", counted)  # noqa: B010 - it is private

    async def told(_: Service) -> dict[str, float]:
        return switch.found()

    run_service(run, stages=("aggregate",), until=told)
