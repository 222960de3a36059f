"""The aggregate stage, scraped now and then, and what its telling costs.

Whatever the stage does to be seen is timed in CPU seconds of the thread that does it:
metrics, the status page's facts, log lines, librdkafka's statistics, scrapes. The
timing itself is in it, so the share is an upper bound.
"""

from __future__ import annotations

import functools
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import generate_latest

from bench.measured.service_runs import run_service
from consumer.kafka import statistics
from consumer.stages import loop_report
from consumer.stages.aggregate_report import AggregateReport
from consumer.stages.client_report import ClientReport
from consumer.telemetry.history import History
from consumer.telemetry.laps import Laps
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.job import Run
    from consumer.service import Service

SCRAPE_SECONDS: Final = 5.0
TELLING: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (AggregateReport, ("taken", "committed", "show", "rebalanced", "recovering")),
    (ClientReport, ("__call__",)),
    (statistics, ("parse",)),
    (History, ("totals",)),
    (Laps, ("to", "rename", "divide", "scrape")),
)


class Telling:
    """CPU seconds spent within the functions that were given to `timed`."""

    def __init__(self) -> None:
        """Have heard nothing yet."""
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._within = threading.local()

    def spared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Take off what a timed function does that has to be done anyway."""

        def done(*arguments: Any) -> Any:  # noqa: ANN401 - whatever it is
            began = time.thread_time()
            result = function(*arguments)
            with self._lock:
                self.seconds -= time.thread_time() - began
            return result

        return done

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Time a function, but for what is called within another timed one."""

        @functools.wraps(function)
        def told(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it is
            if getattr(self._within, "yes", False):
                return function(*arguments, **named)
            self._within.yes = True
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.thread_time() - began
                self._within.yes = False
                with self._lock:
                    self.seconds += spent

        return told


@contextmanager
def scraped(metrics: Metrics, telling: Telling) -> Iterator[None]:
    """Make the text of a scrape now and then, as Prometheus would have it."""
    end, expose = threading.Event(), telling.timed(generate_latest)

    def scrape() -> None:
        while not end.wait(SCRAPE_SECONDS):
            expose(metrics.registry)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def main(run: Run) -> None:
    """Fold the whole topic into profiles, and tell of it."""
    telling = Telling()
    for place, names in TELLING:
        for name in names:
            setattr(place, name, telling.timed(getattr(place, name)))
    # Batches are bounded by it.
    loop_report.bytes_of = telling.spared(loop_report.bytes_of)
    metrics = Metrics()

    async def told(_: Service) -> dict[str, float]:
        spent = time.process_time()
        return {"telling_cpu_s": telling.seconds, "process_cpu_s": spent}

    with scraped(metrics, telling):
        run_service(run, stages=("aggregate",), until=told, metrics=metrics)
