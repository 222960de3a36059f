"""The aggregate stage as one of several processes on one topic, until all is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import uvloop
from confluent_kafka import Consumer, TopicPartition

from bench.job import PARTITIONS
from bench.measured.service_runs import served, total
from bench.meter import Meter
from consumer.clock import SystemClock
from consumer.service import Service
from consumer.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.job import Run
    from consumer.config import Settings

LOOK_SECONDS: Final = 0.25


def main(run: Run) -> None:
    """Fold what this process is given; end when the group has committed the topic."""
    settings = run.settings()
    configure_logging(settings.log)
    meter = Meter()
    service = Service(settings, SystemClock(), stages=("aggregate",))

    def done() -> int:
        return int(total(service.metrics.records))

    uvloop.run(served(service, meter, done, committed(run, settings)))
    meter.measured().report()


def committed(run: Run, settings: Settings) -> Callable[[], bool]:
    """Give what tells whether the whole topic is committed; it looks now and then."""
    group = {"group.id": settings.aggregate_group}
    looking = Consumer({**settings.kafka.for_consumer(), **group})
    places = [TopicPartition(run.topic, number) for number in range(PARTITIONS)]
    looked = 0.0

    def finished() -> bool:
        nonlocal looked
        if time.monotonic() - looked < LOOK_SECONDS:
            return False
        looked = time.monotonic()
        offsets = (max(0, one.offset) for one in looking.committed(places))
        return sum(offsets) >= run.records

    return finished
