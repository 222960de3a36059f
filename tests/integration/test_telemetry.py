"""The service under load tells the truth about itself, as seen from outside."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import configure
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target.server import TargetSandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.sandbox.demo.service_process import Metrics
    from consumer.sandbox.kafka import EmbeddedKafka

EVENTS = 30_000
PATIENCE = 60.0
LOOPS = ("aggregate", "intake", "sealing", "confirmation")
STEPS = "pos_consumer_step_seconds_total"
CONFIRMED = "pos_consumer_confirmed_rows_total"
QUICK = '\n[kafka.consumer]\n"statistics.interval.ms" = 1000\n'


async def until(service: ServiceProcess, done: Callable[[Metrics], bool]) -> Metrics:
    """Scrape until it is so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        scrape = await asyncio.to_thread(service.metrics)
        if done(scrape):
            return scrape
        service.require_running()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


def facts(port: int) -> dict[str, Any]:
    """Fetch the status page's facts."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?format=json") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@pytest.mark.timeout(150)
async def test_what_it_tells_of_itself_adds_up(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Steps fill the wall time, every delivered row has a latency, the page agrees."""
    topic = "telemetry-purchases"
    async with TargetSandbox() as target:
        work = configure(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="telemetry",
            topic=topic,
            more=QUICK,
        )
        spec = Spec(events=EVENTS, visitors=2_000, seed=3)
        await asyncio.to_thread(
            produce,
            spec,
            bootstrap_servers=kafka.bootstrap,
            topic=topic,
            partitions=4,
        )
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        with ServiceProcess(work) as service:
            first = await until(
                service, lambda now: now.total("pos_consumer_ready") == 1
            )
            began = time.monotonic()
            last = await until(
                service,
                lambda now: (
                    now.total("pos_consumer_records_total") == EVENTS
                    and now.total(CONFIRMED) > 0
                    and now.total("pos_consumer_in_flight_batches") == 0
                    and now.total("pos_consumer_lag_records") == 0
                ),
            )
            passed = time.monotonic() - began
            shown = await asyncio.to_thread(facts, work.port)
        for loop in LOOPS:
            spent = last.total(STEPS, loop=loop) - first.total(STEPS, loop=loop)
            assert spent == pytest.approx(passed, rel=0.05, abs=0.3), loop
        rows = last.total("pos_consumer_upload_rows_total", outcome="accepted")
        for latency in ("accepted", "confirmed"):
            name = f"pos_consumer_event_to_{latency}_seconds"
            assert last.total(f"{name}_count") == rows
            # The purchases were made before the service began: none is younger.
            assert last.total(f"{name}_bucket", le="0.1") == 0
        assert last.total(CONFIRMED) == rows
        for figure in ("kafka_received_bytes_total", "kafka_brokers_up"):
            for client in ("purchases", "profiles"):
                assert last.total(f"pos_consumer_{figure}", client=client) > 0
        assert last.total("pos_consumer_partitions", stage="upload") == 4
        assert last.total("pos_consumer_partition_assigned", stage="aggregate") == 4
        assert last.total("pos_consumer_store_bytes") > 0
        assert shown["state"] == "ready"
        assert len(shown["partitions"]) == 8
        assert {one["state"] for one in shown["partitions"]} == {"running"}
        assert {one["outcome"] for one in shown["batches"]} == {"complete"}
        assert sum(one["rows"] for one in shown["batches"]) == rows
        assert shown["budget"]["calls_in_last_minute"] == len(target.journal.calls)
