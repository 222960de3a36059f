"""The service killed with SIGKILL mid-way: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.sandbox.demo.reconcile import profile_rows
from consumer.sandbox.demo.service_process import (
    Metrics,
    ServiceProcess,
    run_command,
)
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.demo.work import Work, configure, recount_topic
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka

EVENTS = 120_000
RATE = 4_000.0  # so that purchases still come after the last kill
KILLS = 4
SECONDS_TO_ARRIVE = 120
# A killed member holds its partitions until its session ends.
IMPATIENT = """
[kafka.consumer]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
"""


@pytest.mark.timeout(240)
async def test_killed_at_any_moment_it_counts_every_purchase_once(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Profiles, Target and dead letters equal the recount after several kills."""
    spec = Spec(events=EVENTS, visitors=4_000, seed=7)
    # Unmetered calls: the test is about crashes, not about waiting for the budget.
    options = TargetOptions(calls_per_minute=10_000)
    async with TargetSandbox(options) as target:
        work = configure(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="kill",
            topic="kill-purchases",
            more=IMPATIENT,
        )
        config = work.config.read_text(encoding="utf-8")
        work.config.write_text(
            config.replace("calls_per_minute = 50", "calls_per_minute = 600"),
            encoding="utf-8",
        )
        await asyncio.to_thread(
            produce,
            Spec(events=1, visitors=1, seed=8, poison=0, tombstones=0),
            bootstrap_servers=kafka.bootstrap,
            topic="kill-purchases",
        )
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        producing = asyncio.create_task(
            asyncio.to_thread(
                produce,
                spec,
                bootstrap_servers=kafka.bootstrap,
                topic="kill-purchases",
                rate=RATE,
            )
        )
        with Topics(kafka.bootstrap, "kill") as topics:
            await _kill_and_finish(work, topics, producing)
            letters = await asyncio.to_thread(topics.dead_letters)
        recounted = await asyncio.to_thread(
            recount_topic, kafka.bootstrap, "kill-purchases"
        )
        rows, wrong = profile_rows(recounted, dict(target.profiles()))
    assert not wrong
    assert all(row.agrees for row in rows), rows
    assert dict(letters) == dict(recounted.dead_letters)
    assert not target.journal.violations
    _check_versions(kafka.bootstrap, work)


async def _kill_and_finish(
    work: Work, topics: Topics, producing: asyncio.Task[object]
) -> None:
    """Kill the service at moments drawn from a seed, then let it finish."""
    moments = random.Random(42)
    with ServiceProcess(work) as service:
        for _ in range(KILLS):
            await _until_it_works(service)
            await asyncio.sleep(moments.uniform(0.0, 2.0))
            service.kill()
            service.start()
        await producing
        for _ in range(SECONDS_TO_ARRIVE):
            await asyncio.sleep(1.0)
            service.require_running()
            if await _arrived(service, topics):
                break
        else:
            pytest.fail(f"not arrived in time; see {work.log}")
        assert await asyncio.to_thread(service.drain, 40.0) == 0


async def _until_it_works(service: ServiceProcess) -> None:
    while True:
        await asyncio.sleep(0.1)
        service.require_running()
        scrape = await asyncio.to_thread(service.metrics)
        if _ready(scrape):
            return


def _ready(scrape: Metrics) -> bool:
    """Tell whether it works: one without partitions is ready too, and has no lag."""
    works = scrape.total("pos_consumer_partition_assigned", stage="aggregate") > 0
    return works and scrape.total("pos_consumer_ready") == 1


async def _arrived(service: ServiceProcess, topics: Topics) -> bool:
    scrape = await asyncio.to_thread(service.metrics)
    busy = scrape.total("pos_consumer_lag_records", stage="aggregate") + scrape.total(
        "pos_consumer_in_flight_batches"
    )
    return _ready(scrape) and busy == 0 and await asyncio.to_thread(topics.uploaded)


def _check_versions(bootstrap: str, work: Work) -> None:
    """No version of a profile goes back, repeats or is missing in the topic."""
    from consumer.config import load_settings
    from consumer.loading import load_plan

    settings = load_settings(work.config)
    plan, _ = load_plan(settings)
    codec = ProfileCodec(ProfileSchema.of(plan))
    versions: defaultdict[str, list[int]] = defaultdict(list)
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "check-versions",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = reader.list_topics("kill.profiles", 10).topics["kill.profiles"]
        left = set(partitions.partitions)
        reader.assign([TopicPartition("kill.profiles", p, 0) for p in left])
        while left:
            found = reader.consume(10_000, 0.5)
            left -= {one.partition() for one in found if one.error() is not None}
            values = [
                value
                for one in found
                if one.error() is None and (value := one.value()) is not None
            ]
            if values:
                batch = codec.decode(values)
                for visitor, version in zip(
                    batch.column("visitor").to_pylist(),
                    batch.column("version").to_pylist(),
                    strict=True,
                ):
                    versions[visitor].append(version)
    finally:
        reader.close()
    assert versions
    for numbers in versions.values():
        assert numbers == list(range(1, len(numbers) + 1))
