"""Runs the service in this process on a new application, and watches its metrics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import uvloop
from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench.meter import Meter
from consumer.clock import SystemClock
from consumer.kafka.clients import wait_for_broker
from consumer.kafka.topics import TopicAdmin
from consumer.service import Service
from consumer.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import Counter, Gauge

    from bench.job import Run
    from consumer.config import Settings
    from consumer.service import Stage
    from consumer.telemetry.metrics import Metrics

LOOK_SECONDS: Final = 0.05  # looking takes CPU time that counts in
LED_SECONDS: Final = 10.0

Details = dict[str, float]


def run_service(
    run: Run,
    *,
    stages: tuple[Stage, ...],
    until: Callable[[Service], Awaitable[Details]] | None = None,
    metrics: Metrics | None = None,
) -> None:
    """Run until all records are committed, and then `until`; report.

    Creates the application's topics first. `until` gives what the report has beside.
    `metrics` take the place of the service's own.
    """
    settings = run.settings()
    configure_logging(settings.log)
    create_topics(settings)
    meter = Meter()
    service = Service(settings, SystemClock(), stages=stages, metrics=metrics)

    def done() -> int:
        return int(total(service.metrics.records))

    detail = uvloop.run(
        served(service, meter, done, lambda: done() >= run.records, until)
    )
    meter.measured(detail, seconds_by_step(service)).report()


def create_topics(settings: Settings) -> None:
    """Create the topics of a new application."""
    asyncio.run(wait_for_broker(settings, SystemClock()))
    admin = TopicAdmin(settings)
    specs, _ = admin.plan()
    admin.create(specs)
    _wait_until_led(settings, [spec.name for spec in specs])


def _wait_until_led(settings: Settings, topics: list[str]) -> None:
    """Return when each partition is led, some time after the broker shows its topic."""
    options = {**settings.kafka.for_consumer(), "group.id": "bench-look"}
    looking = Consumer(options)
    for topic in topics:
        for number in looking.list_topics(topic, LED_SECONDS).topics[topic].partitions:
            deadline = time.monotonic() + LED_SECONDS
            while True:
                try:
                    place = TopicPartition(topic, number)
                    looking.get_watermark_offsets(place, LED_SECONDS)
                except KafkaException:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
                else:
                    break
    looking.close()


async def served(  # noqa: PLR0913 - each says one thing of the run
    service: Service,
    meter: Meter,
    done: Callable[[], int],
    finished: Callable[[], bool],
    until: Callable[[Service], Awaitable[Details]] | None = None,
    *,
    begun: Callable[[], bool] | None = None,
) -> Details:
    """Run the service until it has `finished` and `until` has returned; drain it.

    The clock starts when `begun`, or else when the first partition flows.
    """
    running = asyncio.ensure_future(service.run())
    while not (running.done() or finished()):
        await asyncio.sleep(LOOK_SECONDS)
        if begun() if begun else flowing(service):
            meter.at(done())
    detail: Details = {}
    if not running.done():
        meter.at(done())
        if until is not None:
            detail = await until(service)
    service.stop()
    await running
    return detail


def flowing(service: Service) -> int:
    """Count the partitions that have been restored, so that records are taken."""
    return sum(len(family.samples) for family in service.metrics.lag_records.collect())


def total(metric: Counter | Gauge, suffix: str = "_total") -> float:
    """Add up a metric over its labels."""
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(suffix)
    )


def seconds_by_step(service: Service) -> dict[str, float]:
    """Give the seconds of wall time that each step of the stages took."""
    return {
        _name(sample.labels["stage"], sample.labels["step"]): round(sample.value, 3)
        for family in service.metrics.step_seconds.collect()
        for sample in family.samples
        if sample.value
    }


def _name(stage: str, step: str) -> str:
    return step if stage == "aggregate" else f"{stage} {step}"
