"""Restore: the stores are gone, the topics bring them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

from bench.job import PARTITIONS
from bench.measured.service_runs import flowing, served, total
from bench.meter import Meter
from consumer.clock import SystemClock
from consumer.service import Service
from consumer.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Start the stage on an empty state directory, until every partition flows."""
    settings = run.settings()
    configure_logging(settings.log)
    meter = Meter()
    service = Service(settings, SystemClock(), stages=("aggregate",))
    uvloop.run(
        served(
            service,
            meter,
            lambda: int(total(service.metrics.restored_records)),
            lambda: flowing(service) == PARTITIONS,
            begun=lambda: bool(total(service.metrics.partition_assigned, "assigned")),
        )
    )
    meter.measured().report()
