"""A visitor is erased with the real command line, on a real broker, and stays so."""

from __future__ import annotations

import asyncio
import json
import time
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.failpoints import VARIABLE
from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from tests.integration.quick import quick_work
from tests.integration.shop import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.sandbox.demo.service_process import Metrics
    from consumer.sandbox.demo.work import Work
    from consumer.sandbox.kafka import EmbeddedKafka

PATIENCE = 60.0
TOPIC = "erase-purchases"


def purchases(bootstrap: str, seed: int, begins: float) -> None:
    """Produce purchases that happened within a minute."""
    spec = Spec(
        events=3_000,
        visitors=200,
        seed=seed,
        poison=0.0,
        late_by_minutes=0.0,
        late_by_days=0.0,
        start_ms=int(begins * 1_000),
        span_ms=60_000,
    )
    produce(spec, bootstrap_servers=bootstrap, topic=TOPIC, partitions=2)


def latest(bootstrap: str, topic: str) -> dict[bytes, bytes | None]:
    """Read a topic of ours whole: each key's last value, None for a tombstone."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "erase-check",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    found: dict[bytes, bytes | None] = {}
    try:
        left = set(reader.list_topics(topic, 10).topics[topic].partitions)
        reader.assign([TopicPartition(topic, number, 0) for number in left])
        while left:
            for one in reader.consume(10_000, 0.5):
                if one.error() is not None:
                    left.discard(one.partition() or 0)
                else:
                    found[one.key() or b""] = one.value()
    finally:
        reader.close()
    return found


class Shop:
    """The service as a process, and what is to be seen of it."""

    def __init__(self, work: Work, topics: Topics) -> None:
        self.work = work
        self.topics = topics

    async def until(
        self, service: ServiceProcess, done: Callable[[Metrics], bool]
    ) -> Metrics:
        """Scrape until it is so and everything has been uploaded."""
        deadline = time.monotonic() + PATIENCE
        while True:
            await asyncio.sleep(0.2)
            scrape = await asyncio.to_thread(service.metrics)
            at_rest = (
                scrape.total("pos_consumer_lag_records") == 0
                and scrape.total("pos_consumer_in_flight_batches") == 0
            )
            if (
                at_rest
                and done(scrape)
                and await asyncio.to_thread(self.topics.uploaded)
            ):
                return scrape
            service.require_running()
            assert time.monotonic() < deadline, self.work.log.read_text()[-2_000:]

    async def erase(self, *visitors: str) -> None:
        """Ask for an erasure on the command line, and wait for its end."""
        listed = self.work.folder / "visitors.txt"
        listed.write_text("\n".join(visitors), encoding="utf-8")
        await asyncio.to_thread(
            run_command, self.work.config, "erase", "--visitors", str(listed)
        )


def folded(scrape: Metrics) -> float:
    """Count the purchases that were taken, whatever became of them."""
    return scrape.total("pos_consumer_records_total")


@pytest.mark.timeout(200)
async def test_an_erased_visitor_is_gone_and_stays_gone(
    kafka: EmbeddedKafka,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Target gets the sentinels, the profile a tombstone, the past does not return."""
    begins = time.time() - 600
    await asyncio.to_thread(purchases, kafka.bootstrap, 1, begins)
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        work = quick_work(tmp_path, kafka, target, application="erase", topic=TOPIC)
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        with Topics(kafka.bootstrap, "erase") as topics:
            shop = Shop(work, topics)
            with monkeypatch.context() as dying:
                dying.setenv(VARIABLE, "after-erase-produce:1")
                first = ServiceProcess(work)
            with first as service:
                await shop.until(service, lambda now: folded(now) >= 3_000)
                before = dict(target.profiles())
                gone = sorted(
                    v for v, row in before.items() if "favourite_category" in row
                )[:3]
                kept = next(v for v in before if v not in gone)
                asking = asyncio.create_task(shop.erase(*gone, "nobody@example.com"))
                assert await asyncio.to_thread(service.wait, PATIENCE) == -SIGKILL
            # It died with the erased rows in a transaction; the next one goes on.
            with ServiceProcess(work) as service:
                await asking
                after = dict(target.profiles())
                for visitor in gone:
                    assert after[visitor]["favourite_category"] == "none"
                assert after[kept] == before[kept]
                held = await asyncio.to_thread(
                    latest, kafka.bootstrap, "erase.profiles"
                )
                assert all(held[visitor.encode()] is None for visitor in gone)
                assert held[kept.encode()] is not None
                for visitor in (gone[0], "nobody@example.com"):
                    _, out, _ = await asyncio.to_thread(
                        ask, capsys, work.config, "explain", visitor, "--json"
                    )
                    at = json.loads(out)["erased_at"] / 1_000
                    assert begins < at < time.time()
            # Another process, with nothing on its disk, and the past once more.
            for path in sorted((work.folder / "state").glob("partition-*/*")):
                path.unlink()
            with ServiceProcess(work) as service:
                await asyncio.to_thread(purchases, kafka.bootstrap, 2, begins + 60)
                scrape = await shop.until(service, lambda now: folded(now) >= 3_000)
                erased = scrape.total(
                    "pos_consumer_filtered_events_total", reason="erased"
                )
                assert erased > 0
                held = await asyncio.to_thread(
                    latest, kafka.bootstrap, "erase.profiles"
                )
                assert all(held[visitor.encode()] is None for visitor in gone)
                # What happens from now on is somebody new.
                await asyncio.to_thread(purchases, kafka.bootstrap, 3, time.time())
                await shop.until(service, lambda now: folded(now) >= 6_000)
                held = await asyncio.to_thread(
                    latest, kafka.bootstrap, "erase.profiles"
                )
                assert any(held[visitor.encode()] is not None for visitor in gone)
                assert await asyncio.to_thread(service.drain, 40.0) == 0
        assert not target.journal.violations
    said = work.log.read_text(encoding="utf-8")
    assert "visitors erased" in said
    assert not [v for v in before if len(v) > 8 and v in said]
    state = await asyncio.to_thread(latest, kafka.bootstrap, "erase.state")
    noted = [json.loads(v) for k, v in state.items() if k.startswith(b"erased") and v]
    assert len(noted) == 4  # whoever was named, in every partition
