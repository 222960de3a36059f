"""`resync` as its users run it: a command beside the running service."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import configure
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target import TargetOptions, TargetSandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

PATIENCE = 60.0
SETTLED_SECONDS = 6.0  # longer than gauges stay as they were
QUICK = {
    'max_age = "2s"': 'max_age = "500ms"',
    "calls_per_minute = 50": "calls_per_minute = 600",
}


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def command(config: Path, *arguments: str) -> tuple[int, list[Any], str]:
    """Run a command; its exit code, the JSON of its lines, what it complained of."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "consumer", "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, lines, done.stderr


@pytest.mark.timeout(150)
async def test_profiles_that_target_lost_are_sent_again_from_the_topic(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """All, or those named in a file, without a purchase being read once more."""
    topic = "resync-purchases"
    options = TargetOptions(calls_per_minute=600, processing_time=0.5)
    async with TargetSandbox(options) as target:
        work = configure(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="resync",
            topic=topic,
        )
        text = work.config.read_text("utf-8")
        for slow, quick in QUICK.items():
            text = text.replace(slow, quick)
        work.config.write_text(text, encoding="utf-8")
        spec = Spec(events=4_000, visitors=500, seed=5, poison=0)
        await asyncio.to_thread(
            produce,
            spec,
            bootstrap_servers=kafka.bootstrap,
            topic=topic,
            partitions=4,
        )
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        with ServiceProcess(work) as service:
            known: dict[str, dict[str, str]] = {}

            def delivered() -> bool:
                service.require_running()
                now = service.metrics()
                read = now.total("pos_consumer_records_total")
                waiting = now.total("pos_consumer_lag_records")
                confirmed = now.total("pos_consumer_confirmed_rows_total")
                return read >= spec.events and waiting == 0 and confirmed > 0

            while not known or dict(target.profiles()) != known:
                await until(delivered)
                known = dict(target.profiles())
                await asyncio.sleep(SETTLED_SECONDS)
            read = service.metrics().total("pos_consumer_records_total")
            target.account.forget()
            assert dict(target.profiles()) == {}
            code, [end], _ = await command(work.config, "resync", "--all", "--json")
            assert code == 0
            assert end["done"] == end["total"] == len(known)
            assert (end["ended"], end["failed"]) == (4, 0)
            await until(lambda: dict(target.profiles()) == known)
            some = sorted(known)[:3]
            target.account.forget()
            (tmp_path / "some.txt").write_text("\n".join([*some, "nobody", ""]))
            code, [end], _ = await command(
                work.config,
                "resync",
                "--visitors",
                str(tmp_path / "some.txt"),
                "--json",
            )
            assert (code, end["done"]) == (0, 3)
            await until(lambda: sorted(dict(target.profiles())) == some)
            code, shown, _ = await command(work.config, "requests", "--json")
            assert [one["done"] for one in shown] == [len(known), 3]
            assert service.metrics().total("pos_consumer_records_total") == read
            assert target.journal.violations == []
            assert service.drain(40) == 0


async def test_a_request_without_a_service_can_be_taken_back(
    kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path
) -> None:
    """It waits for owners, is shown as waiting, and is gone once taken back."""
    work = configure(
        tmp_path,
        bootstrap=kafka.bootstrap,
        endpoint="http://127.0.0.1:9",
        application="resync-alone",
        topic=topic_factory("purchases", partitions=4),
    )
    await asyncio.to_thread(run_command, work.config, "topics", "create")
    asked = ("resync", "--older-than", "7d", "--no-wait", "--json")
    code, [request], _ = await command(work.config, *asked)
    assert code == 0
    code, [shown], _ = await command(work.config, "requests", "--json")
    assert (shown["id"], shown["kind"]) == (request["id"], "resync")
    assert (shown["begun"], shown["ended"], shown["partitions"]) == (0, 0, 4)
    await asyncio.to_thread(
        run_command, work.config, "requests", "--cancel", request["id"]
    )
    assert await command(work.config, "requests", "--json") == (0, [], "")
