"""The aggregate stage, with its telling switched on and off by chance, batch by batch.

Both halves share the process, the topic and the minute: what disturbs the machine
disturbs them alike, and what is left between them is the telling. Batches are five
times smaller than they may be, so that there are more of them: what telling costs a
batch weighs five times as much. What happens on other threads (librdkafka's statistics,
scrapes) is not in it; `metrics` times that.
"""

from __future__ import annotations

import functools
import os
import time
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.measured.no_metrics import committed, taken
from bench.measured.service_runs import run_service
from consumer.stages.aggregate import AggregateStage
from consumer.stages.aggregate_report import AggregateReport
from consumer.telemetry.laps import Laps

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.job import Run
    from consumer.frames import Records
    from consumer.service import Service

MAX_BATCH: Final = ("POS_CONSUMER__AGGREGATE__MAX_BATCH", "10000")
SKIPPED: Final = 10
"""Batches at the start that are not counted: caches are cold."""

SILENT: Final[tuple[tuple[Any, str, Callable[..., Any]], ...]] = (
    (AggregateReport, "taken", taken),
    (AggregateReport, "committed", committed),
    (AggregateReport, "show", lambda *_, **__: None),
    *((Laps, name, lambda *_, **__: None) for name in ("to", "rename", "divide")),
)


class Switch:
    """Whether it tells now, and the CPU seconds of the stage's thread in each state."""

    def __init__(self) -> None:
        """Begin telling."""
        self.telling = True
        self._random = Random(time.time_ns())
        self._began: tuple[float, int] | None = None
        self._batches: list[tuple[bool, int, float]] = []

    def batch(self, records: int) -> None:
        """Note what the last batch took, and draw for the next."""
        now = time.thread_time()
        if self._began is not None:
            before, count = self._began
            self._batches.append((self.telling, count, now - before))
        self._began = now, records
        self.telling = self._random.random() < 1 / 2

    def either(self, loud: Callable[..., Any], silent: Callable[..., Any]) -> Any:  # noqa: ANN401 - a method
        """Make a function that is one of the two, as the switch stands."""

        @functools.wraps(loud)
        def told(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it is
            return (loud if self.telling else silent)(*arguments, **named)

        return told

    def halves(self) -> dict[str, float]:
        """Give CPU µs an event with and without, and how far each may be off."""
        found: dict[str, float] = {}
        for name, state in (("with", True), ("without", False)):
            kept = [b for b in self._batches[SKIPPED:] if b[0] is state]
            events = np.array([count for _, count, _ in kept], float)
            spent = np.array([seconds for _, _, seconds in kept])
            each = spent.sum() / events.sum()
            off = np.sqrt(((spent - each * events) ** 2).sum()) / events.sum()
            found |= {f"{name}_us": each * 1e6, f"{name}_off_us": off * 1e6}
            found[f"{name}_batches"] = float(len(kept))
        return found


def main(run: Run) -> None:
    """Fold the whole topic into profiles, now telling, now not."""
    os.environ.__setitem__(*MAX_BATCH)
    switch = Switch()
    for place, name, silent in SILENT:
        setattr(place, name, switch.either(getattr(place, name), silent))
    consumed = AggregateStage._consumed  # noqa: SLF001 - where a batch begins

    def counted(stage: AggregateStage, records: Records) -> None:
        switch.batch(len(records))
        consumed(stage, records)

    setattr(AggregateStage, "_consumed", counted)  # noqa: B010 - it is private

    async def told(_: Service) -> dict[str, float]:
        return switch.halves()

    run_service(run, stages=("aggregate",), until=told)
