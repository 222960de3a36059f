"""The service with everything around it, watched by a real Prometheus."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import Work, configure
from consumer.sandbox.kafka import EmbeddedKafka
from consumer.sandbox.prometheus import RULES, Prometheus
from consumer.sandbox.purchases.foreground import NOW, starting
from consumer.sandbox.purchases.produce import prepare_topic, produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target.server import TargetSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from consumer.sandbox.target.options import TargetOptions

APPLICATION: Final = "observed"
JOB: Final = "pos-consumer"
TOPIC: Final = "purchases"
PARTITIONS: Final = 4
VISITORS: Final = 2_000
SLICE_SECONDS: Final = 2.0
HOUR_MS: Final = 3_600_000
WHOLE_BYTES: Final = 100  # broken records are shorter
QUICK: Final = """
[kafka.consumer]
"statistics.interval.ms" = 1000
"heartbeat.interval.ms" = 500        # by which a member learns of a rebalance
[kafka.producer]
"statistics.interval.ms" = 1000
"""


@dataclass
class Till:
    """Purchases that come in all the time; how, can be changed meanwhile."""

    bootstrap: str
    rate: float
    poison: float = 0.0
    hours_old: float = 0.0
    closed: bool = False
    _seeds: itertools.count[int] = field(default_factory=itertools.count)

    async def run(self) -> None:
        """Sell until closed, and what was begun to its end: the broker has to live."""
        while not self.closed:
            await asyncio.to_thread(self._sell)

    def _sell(self) -> None:
        spec = Spec(
            events=int(self.rate * SLICE_SECONDS),
            visitors=VISITORS,
            seed=next(self._seeds),
            poison=self.poison,
        )
        now = time.time() - self.hours_old * HOUR_MS / 1_000
        produce(
            starting(spec, NOW, now, self.rate),
            bootstrap_servers=self.bootstrap,
            topic=TOPIC,
            rate=self.rate,
        )


@dataclass
class Site:
    """What runs, and what to ask it."""

    kafka: EmbeddedKafka
    target: TargetSandbox
    works: list[Work]
    replicas: list[ServiceProcess]
    prometheus: Prometheus
    till: Till


@asynccontextmanager
async def site(  # noqa: PLR0913 - what differs from run to run
    folder: Path,
    *,
    options: TargetOptions,
    replicas: int = 1,
    rate: float = 500.0,
    rules: Path = RULES,
    values: Mapping[str, str] | None = None,
    jobs: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """Run all parts, with purchases coming in until the end.

    `values` are lines of the configuration to be put in place of those of their key,
    `jobs` further addresses for Prometheus.
    """
    async with TargetSandbox(options) as target:
        with ExitStack() as stack:
            kafka = stack.enter_context(EmbeddedKafka())
            options_ = {"bootstrap.servers": kafka.bootstrap}
            prepare_topic(options_, TOPIC, PARTITIONS, 0)
            works = [
                configured(folder / f"replica-{number}", kafka, target, values or {})
                for number in range(replicas)
            ]
            await asyncio.to_thread(run_command, works[0].config, "topics", "create")
            addresses = [f"127.0.0.1:{work.port}" for work in works]
            scraped = {JOB: addresses, **{k: [v] for k, v in (jobs or {}).items()}}
            prometheus = stack.enter_context(
                Prometheus(folder / "prometheus", scraped, rules=rules)
            )
            services = [stack.enter_context(ServiceProcess(work)) for work in works]
            till = Till(kafka.bootstrap, rate)
            selling = asyncio.create_task(till.run())
            try:
                yield Site(kafka, target, works, services, prometheus, till)
            finally:
                till.closed = True
                await selling


def configured(
    folder: Path,
    kafka: EmbeddedKafka,
    target: TargetSandbox,
    values: Mapping[str, str],
    *,
    application: str = APPLICATION,
) -> Work:
    """Write a configuration with the lines `values` in place of its own."""
    work = configure(
        folder,
        bootstrap=kafka.bootstrap,
        endpoint=target.endpoint,
        application=application,
        topic=TOPIC,
        more=QUICK,
    )
    text = work.config.read_text("utf-8")
    for key, line in values.items():
        text, found = re.subn(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        assert found == 1, key
    work.config.write_text(text, "utf-8")
    return work


def read_records(
    running: Site, topic: str, partition: int, least: int
) -> list[Message]:
    """Read the first records of a partition that are whole."""
    consumer = Consumer({"bootstrap.servers": running.kafka.bootstrap, "group.id": "x"})
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list[Message] = []
    while len(found) < least:
        record = consumer.poll(10.0)
        assert record is not None
        if record.error() is None and len(record.value() or b"") > WHOLE_BYTES:
            found.append(record)
    consumer.close()
    return found


def foreign_key(running: Site) -> None:
    """Produce a purchase again under a key that is not its visitor."""
    value = read_records(running, TOPIC, 0, 1)[0].value()
    producer = Producer({"bootstrap.servers": running.kafka.bootstrap})
    producer.produce(TOPIC, value, b"somebody else", 0)
    producer.flush(10.0)
