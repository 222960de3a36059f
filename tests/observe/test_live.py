"""A real Prometheus watches the service: panels have data, faults raise alerts."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import Work, configure
from consumer.sandbox.kafka import EmbeddedKafka
from consumer.sandbox.prometheus import RULES, Prometheus
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target import Fault, FaultKind
from consumer.sandbox.target.faults import ALWAYS
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from dashboards.generate import PAGES
from dashboards.rules import ALERTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOPIC: Final = "purchases"
RATE: Final = 3_000.0
HEALTHY_SECONDS: Final = 60
PATIENCE: Final = 90.0
TIMES_FASTER: Final = 30
QUICK: Final = '\n[kafka.consumer]\n"statistics.interval.ms" = 1000\n'
QUICK_PRODUCER: Final = '[kafka.producer]\n"statistics.interval.ms" = 1000\n'

NOTHING_TO_SHOW: Final = {
    "Upload: Token": "the sandbox's token is no JWT, so it tells no end",
    "Upload: Rows not applied": "rejected rows have no series before the first",
    "Overview: Errors": "likewise",
    "Aggregate: Owned and halted": "nothing is halted",
}
"""Panels with a query that a healthy run leaves empty, and why."""


@dataclass
class Site:
    """What runs, and what to ask it."""

    kafka: EmbeddedKafka
    target: TargetSandbox
    work: Work
    service: ServiceProcess
    prometheus: Prometheus


@asynccontextmanager
async def site(
    folder: Path, *, rules: Path, options: TargetOptions, more: str = ""
) -> AsyncIterator[Site]:
    """Run all parts, with purchases coming in until the end."""
    with EmbeddedKafka() as kafka:
        async with TargetSandbox(options) as target:
            work = configure(
                folder,
                bootstrap=kafka.bootstrap,
                endpoint=target.endpoint,
                application="observed",
                topic=TOPIC,
                more=QUICK + QUICK_PRODUCER,
            )
            text = work.config.read_text("utf-8")
            for line in more.splitlines():
                key = line.partition(" = ")[0]
                text = re.sub(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
            work.config.write_text(text, "utf-8")
            first = Spec(events=2_000, visitors=500, seed=1, poison=0.05)
            await asyncio.to_thread(
                produce,
                first,
                bootstrap_servers=kafka.bootstrap,
                topic=TOPIC,
                partitions=4,
            )
            await asyncio.to_thread(run_command, work.config, "topics", "create")
            jobs = {"pos-consumer": [f"127.0.0.1:{work.port}"]}
            with (
                Prometheus(folder / "prometheus", jobs, rules=rules) as prometheus,
                ServiceProcess(work) as service,
            ):
                yield Site(kafka, target, work, service, prometheus)


async def purchases(
    running: Site, seconds: float, seed: int, poison: float = 0.002
) -> None:
    """Let purchases come in for a while."""
    spec = Spec(events=int(RATE * seconds), visitors=2_000, seed=seed, poison=poison)
    await asyncio.to_thread(
        produce,
        spec,
        bootstrap_servers=running.kafka.bootstrap,
        topic=TOPIC,
        rate=RATE,
    )


async def keep_buying(running: Site, enough: asyncio.Event) -> None:
    """Let purchases come in, many of them broken, until it is enough."""
    for seed in range(3, 1_000):
        if enough.is_set():
            return
        await purchases(running, 3.0, seed, poison=0.05)


def filled_in(expr: str) -> str:
    """Put in what Grafana would put in."""
    return (
        expr.replace("$__rate_interval", "15s")
        .replace("$job", "pos-consumer")
        .replace("$instance", ".+")
    )


async def test_a_healthy_run_fills_every_panel_and_fires_nothing(
    tmp_path: Path,
) -> None:
    """Each query of each panel returns data, and no alert fires."""
    options = TargetOptions(processing_time=2.0)
    async with site(tmp_path, rules=RULES, options=options) as running:
        await purchases(running, HEALTHY_SECONDS, 2)
        empty = {
            f"{page.title.partition(': ')[2]}: {panel.title}"
            for page in PAGES
            for row in page.rows
            for panel in row.panels
            for query in panel.queries
            if not running.prometheus.query(filled_in(query.expr))
        }
        for alert in ALERTS:  # refused ones raise
            running.prometheus.query(alert.expr)
        fired, pending = running.prometheus.fired(), running.prometheus.alerts()
        kinds = running.prometheus.query(
            "sum by (loop) (rate(pos_consumer_step_seconds_total[30s]))"
        )
    assert empty <= NOTHING_TO_SHOW.keys()
    assert fired == []
    assert [one["labels"]["alertname"] for one in pending] == []
    for one in kinds:
        if one["metric"]["loop"] != "delivery":
            assert 0.9 < float(one["value"][1]) < 1.1


def faster(text: str) -> str:
    """Shorten every duration of the rules, so that minutes are seconds."""
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

    def shorter(found: re.Match[str]) -> str:
        whole = int(found[2]) * seconds[found[3]]
        return f"{found[1]}{max(1, whole // TIMES_FASTER)}s"

    return re.sub(r"(\[|for: |:)(\d+)([smhd])\b", shorter, text)


async def fires(running: Site, name: str) -> None:
    """Wait until an alert fires."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(running.prometheus.fired)
        if name in found:
            return
        await asyncio.sleep(0.5)
    alerts = running.prometheus.alerts()
    raise AssertionError(name, [(a["labels"]["alertname"], a["state"]) for a in alerts])


def give_a_foreign_key(running: Site) -> None:
    """Produce a purchase again under a key that is not its visitor."""
    consumer = Consumer(
        {"bootstrap.servers": running.kafka.bootstrap, "group.id": "copies"}
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    record = None
    while record is None or len(record.value() or b"") < 100:
        record = consumer.poll(10.0)
    consumer.close()
    producer = Producer({"bootstrap.servers": running.kafka.bootstrap})
    producer.produce(TOPIC, record.value(), b"somebody else", 0)
    producer.flush(10.0)


async def test_faults_raise_their_alerts(tmp_path: Path) -> None:
    """Each alert that a fault of the sandbox can cause is seen firing.

    The rules' windows are a thirtieth of what they are; the others of the alerts are
    shown by promtool alone, since they need hours, other faults of brokers, or bugs.
    """
    rules = tmp_path / "faster.yml"
    rules.write_text(faster(RULES.read_text("utf-8")), "utf-8")
    options = TargetOptions(processing_time=0.2, calls_per_minute=100_000)
    more = (
        'calls_per_minute = 600\nreserve = 0\nmax_age = "500ms"\nfirst_poll = "500ms"'
    )

    async def ordered(fault: Fault, alert: str) -> None:
        running.target.order(fault)
        await fires(running, alert)
        running.target.account.faults.cancel()

    async with site(tmp_path, rules=rules, options=options, more=more) as running:
        enough = asyncio.Event()
        producing = asyncio.create_task(keep_buying(running, enough))
        await fires(running, "PosConsumerDeadLetters")
        await ordered(Fault(FaultKind.STUCK, calls=3), "PosConsumerBatchesStuck")
        await ordered(
            Fault(FaultKind.FAILED_UPDATES, calls=ALWAYS, rows=500),
            "PosConsumerRowsFailing",
        )
        await ordered(Fault(FaultKind.HTTP_429, calls=ALWAYS), "PosConsumerThrottled")
        await ordered(
            Fault(FaultKind.UNAUTHORIZED, calls=ALWAYS), "PosConsumerAuthRefused"
        )
        await asyncio.to_thread(give_a_foreign_key, running)
        await fires(running, "PosConsumerPartitionHalted")
        running.service.kill()
        await fires(running, "PosConsumerDown")
        enough.set()
        await producing
