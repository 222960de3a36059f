"""The aggregate stage without any metric, statistic or fact for the status page.

Two metrics stay, by which the bench sees the beginning and the end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from bench.measured.service_runs import run_service
from consumer import service
from consumer.stages import aggregate as stages_aggregate
from consumer.stages.aggregate_report import AggregateReport
from consumer.stages.loop_report import LoopReport, bytes_of
from consumer.telemetry.history import History
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.job import Run
    from consumer.frames import Records
    from consumer.stages.batch import Prepared

KEPT: Final = {"records", "lag_records", "registry"}


class Silent:
    """Stands for a metric, or for the clock of a loop, and does nothing."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        """Take any call."""
        return lambda *_, **__: self

    def collect(self) -> list[Any]:
        """Have nothing to show."""
        return []

    @contextmanager
    def step(self, _: str) -> Iterator[Self]:
        """Let the block run."""
        yield self


class SilentMetrics(Metrics):
    """Metrics that are not kept."""

    def __init__(self) -> None:
        """Silence all but two."""
        super().__init__()
        for name, one in list(vars(self).items()):
            if name not in KEPT and (hasattr(one, "labels") or hasattr(one, "collect")):
                setattr(self, name, Silent())

    @contextmanager
    def laps(self, *_: object, **__: object) -> Iterator[Any]:
        """Keep no time."""
        yield Silent()


def taken(_: LoopReport, records: Records) -> int:
    """Give the bytes, which bound the next batch; count nothing."""
    return bytes_of(records)


def committed(report: AggregateReport, prepared: Prepared) -> None:
    """Count what the bench waits for."""
    for outcome, count in prepared.verdicts.counts().items():
        report._metrics.records.labels(outcome.label).inc(count)  # noqa: SLF001 - in its place


def main(run: Run) -> None:
    """Fold the whole topic into profiles, and tell nobody."""
    AggregateReport.committed = committed  # type: ignore[assignment, method-assign]
    LoopReport.taken = taken  # type: ignore[assignment, method-assign]
    History.totals = lambda _: {}  # type: ignore[assignment, method-assign]
    for module in (service, stages_aggregate):
        module.ClientReport = lambda *_: None  # type: ignore[attr-defined]
    run_service(run, stages=("aggregate",), metrics=SilentMetrics())
