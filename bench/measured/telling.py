"""What a process spends on telling of itself, by the clocks of the threads that do it.

Timed is whatever tells, whoever calls it: the stage's reports, its clock of steps,
every metric, health, the status page's facts, log lines, librdkafka's statistics. A
call within a timed one counts once. The timing itself is counted too, so the sum is an
upper bound.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase
from structlog.stdlib import BoundLogger

from consumer.kafka import statistics
from consumer.stages import loop_report
from consumer.stages.aggregate import AggregateStage
from consumer.stages.aggregate_report import AggregateReport
from consumer.stages.client_report import ClientReport
from consumer.stages.loop_report import LoopReport
from consumer.telemetry.health import Component
from consumer.telemetry.histogram import BatchHistogram
from consumer.telemetry.history import History
from consumer.telemetry.laps import Laps
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard

if TYPE_CHECKING:
    from collections.abc import Callable

TELLING: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (AggregateStage, ("_show",)),
    (AggregateReport, ("committed",)),
    (LoopReport, ("taken", "refused", "rebalanced", "recovering")),
    (Laps, ("to", "rename", "divide", "scrape")),
    (Counter, ("inc",)),
    (Gauge, ("set", "inc", "dec")),
    (BatchHistogram, ("observe",)),
    (MetricWrapperBase, ("labels", "remove_by_labels")),
    (Metrics, ("forget_partition",)),
    (Component, ("beat", "ready", "wait", "degrade")),
    (StatusBoard, ("partition", "forget", "trouble", "sample")),
    (History, ("_sample", "_sum_up")),
    (BoundLogger, ("debug", "info", "warning", "error")),
    (ClientReport, ("__call__",)),
    (statistics, ("parse",)),
)


class Telling:
    """CPU seconds spent within the functions that were given to `timed`."""

    def __init__(self) -> None:
        """Have heard nothing yet."""
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._within = threading.local()

    def listen(self) -> None:
        """Time everything that tells, in this process, from now on."""
        for place, names in TELLING:
            for name in names:
                setattr(place, name, self.timed(getattr(place, name)))
        # Batches are bounded by it.
        loop_report.bytes_of = self.spared(loop_report.bytes_of)

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
