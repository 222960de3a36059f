"""How long an event takes while a thousand come a second, on a service that is quiet.

From `produce` to the profile read back (read_committed), and to Target's acceptance,
as the service's own metric has it. What comes in the first seconds does not count.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.generate import VARIANTS, generate
from bench.job import PARTITIONS
from bench.measured.service_runs import create_topics, flowing, served, total
from bench.meter import Meter
from consumer.clock import SystemClock
from consumer.service import Service
from consumer.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from bench.job import Run

RATE: Final = 1_000
SECONDS: Final = 30
WARM: Final = 5 * RATE  # events that come first and do not count
AFTER_SECONDS: Final = 3.0
AT_ONCE: Final = 10  # events sent between two looks at the clock


def main(run: Run) -> None:
    """Run the service, the producer and the reader; report what they saw."""
    settings = run.settings()
    configure_logging(settings.log)
    create_topics(settings)
    service = Service(settings, SystemClock(), stages=("aggregate", "upload"))
    accepted = _watched(service.metrics.event_to_accepted)
    sent: dict[bytes, float] = {}
    read: dict[bytes, float] = {}
    stop = threading.Event()
    # Daemons: where the service fails, nothing may keep the process from saying so.
    words = run, settings.topics.profiles, read, stop
    reader = threading.Thread(target=_read, args=words, daemon=True)
    sending = run, sent, lambda: flowing(service)
    sender = threading.Thread(target=_send, args=sending, daemon=True)
    meter = Meter()
    reader.start()
    sender.start()

    def done() -> int:
        return int(total(service.metrics.records))

    async def until(_: Service) -> dict[str, float]:
        await asyncio.sleep(AFTER_SECONDS)
        return {}

    uvloop.run(served(service, meter, done, lambda: done() >= RATE * SECONDS, until))
    stop.set()
    reader.join()
    sender.join()
    counted = list(sent)[WARM:]
    readable = [read[visitor] - sent[visitor] for visitor in counted if visitor in read]
    values, times = (np.concatenate(column) for column in zip(*accepted, strict=True))
    meter.measured(
        {
            "readable_p50_ms": _percentile(readable, 50),
            "readable_p99_ms": _percentile(readable, 99),
            "accepted_p50_ms": _percentile(np.repeat(values, times), 50),
            "accepted_p99_ms": _percentile(np.repeat(values, times), 99),
            "measured_visitors": len(readable),
        }
    ).report()


def _percentile(seconds: Any, percent: float) -> float:  # noqa: ANN401 - a list or an array
    return float(np.percentile(seconds, percent)) * 1_000


def _watched(histogram: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - replaced in part
    """Keep what a histogram observes, beside its buckets."""
    kept: list[tuple[Any, Any]] = []
    observe = histogram.observe

    def noting(values: Any, times: Any = None) -> None:  # noqa: ANN401
        kept.append((values, np.ones(len(values), int) if times is None else times))
        observe(values, times)

    histogram.observe = noting
    return kept


def _send(run: Run, sent: dict[bytes, float], ready: Any) -> None:  # noqa: ANN401 - a look
    """Send at an even rate; note when, for visitors that buy once."""
    events = [
        pair
        for part in generate(VARIANTS["uniform"], RATE * SECONDS)
        for pair in zip(part.keys, part.values, strict=True)
    ]
    once = {
        key for key, count in Counter(key for key, _ in events).items() if count == 1
    }
    producer = Producer(
        {"bootstrap.servers": run.bootstrap, "partitioner": "murmur2_random"}
    )
    while ready() < PARTITIONS:
        time.sleep(0.1)
    began = time.monotonic()
    for number, (key, value) in enumerate(events):
        if number % AT_ONCE == 0:
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            producer.poll(0)
        if key in once:
            sent[key] = time.time()
        producer.produce(run.topic, value, key)
    producer.flush()


def _read(
    run: Run, topic: str, read: dict[bytes, float], stop: threading.Event
) -> None:
    """Read profiles as another team would; note when each was there."""
    consumer = Consumer(
        {
            "bootstrap.servers": run.bootstrap,
            "group.id": f"{run.application}-watch",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
    while not stop.is_set():
        for one in consumer.consume(RATE, 0.01):
            if one.error() is None and (key := one.key()) is not None:
                read.setdefault(key, time.time())
    consumer.close()
