"""Days pass on a real broker: windows slide at Target, without a purchase."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from consumer.clock import SystemClock
from consumer.config import load_settings
from consumer.sandbox.accumulators import Attribute
from consumer.sandbox.demo.service_process import run_command
from consumer.sandbox.demo.work import SCHEMA_ID
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.read_back import read_back
from consumer.sandbox.purchases.schema import SCHEMA
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.recount import recount
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from consumer.service import Service
from tests.integration.quick import quick_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka

TOPIC = "windows-purchases"
DAY = 86_400
ZONE = "Pacific/Auckland"
PATIENCE = 60.0
WINDOWS = (
    Attribute("sales_3d", "count", where=lambda r: r["event_type"] == "SALE", window=3),
    Attribute("units_2d", "sum", of=lambda r: r["quantity"], items=True, window=2),
    Attribute("most_2d", "max", of=lambda r: r["total_minor"], window=2, sentinel="-"),
    Attribute("stores_4d", "distinct", of=lambda r: r["store_id"], window=4),
)
CONFIGURATION = f"""
[profiles]
tick_over = "1s"

[attributes.sales_3d]
aggregate = "count"
where = "event_type = 'SALE'"
window = "3d"
time_zone = "{ZONE}"

[attributes.units_2d]
aggregate = "sum"
from = "items"
of = "quantity"
window = "2d"
time_zone = "{ZONE}"

[attributes.most_2d]
aggregate = "max"
of = "total_minor"
sentinel = "-"
window = "2d"
time_zone = "{ZONE}"

[attributes.stores_4d]
aggregate = "distinct"
of = "store_id"
window = "4d"
time_zone = "{ZONE}"
"""


class ShiftedClock(SystemClock):
    """The machine's clock, but `ahead` of it by so many seconds.

    Days pass by both clocks: nobody has set the wall clock.
    """

    ahead = 0.0

    def now(self) -> float:
        """Give the shifted time."""
        return super().now() + self.ahead

    def monotonic(self) -> float:
        """Give the shifted time since some moment."""
        return super().monotonic() + self.ahead


class Days:
    """The service under a clock that is moved, and what Target must have."""

    def __init__(
        self, kafka: EmbeddedKafka, target: TargetSandbox, folder: Path
    ) -> None:
        self.clock = ShiftedClock()
        self._bootstrap = kafka.bootstrap
        self._target = target
        self.work = quick_work(
            folder,
            kafka,
            target,
            application="windows",
            topic=TOPIC,
            more=CONFIGURATION,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        """Run the service."""
        service = Service(load_settings(self.work.config), self.clock)
        running = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            service.stop()
            await running

    async def arrive(self) -> None:
        """Wait until Target has what a recount as of today gives; fail if it never."""
        today = datetime.fromtimestamp(self.clock.now(), ZoneInfo(ZONE)).date()
        found = await asyncio.to_thread(
            recount,
            read_back(self._bootstrap, TOPIC),
            [replace(one, zone=ZONE) for one in WINDOWS],
            {SCHEMA_ID: SCHEMA},
            today=today,
        )
        expected = {visitor: dict(row) for visitor, row in found.profiles.items()}
        names = {one.name for one in WINDOWS}
        deadline = time.monotonic() + PATIENCE
        while True:
            held = {
                visitor: {n: value for n, value in row.items() if n in names}
                for visitor, row in self._target.profiles()
            }
            if held == expected:
                return
            wrong = [v for v in expected if held.get(v) != expected[v]]
            assert time.monotonic() < deadline, (
                f"{len(wrong)} of {len(expected)} are wrong as of {today}: "
                f"{expected[wrong[0]]}, not {held.get(wrong[0])}"
            )
            await asyncio.sleep(0.2)


@pytest.mark.timeout(240)
async def test_days_pass_at_target(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Each day Target has each window's value, through restarts and wrong clocks.

    Nobody buys anything meanwhile.
    """
    spec = Spec(
        events=4_000,
        visitors=300,
        seed=5,
        start_ms=int(time.time() - 2 * DAY) * 1_000,
        span_ms=2 * DAY * 1_000 - 60_000,
    )
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        days = Days(kafka, target, tmp_path)
        await asyncio.to_thread(
            produce,
            spec,
            bootstrap_servers=kafka.bootstrap,
            topic=TOPIC,
            partitions=2,
        )
        await asyncio.to_thread(run_command, days.work.config, "topics", "create")
        async with days.running() as service:
            await days.arrive()
            days.clock.ahead += DAY
            await days.arrive()
            ticked = service.metrics.registry.get_sample_value(
                "pos_consumer_ticked_profiles_total", {"why": "slid"}
            )
            assert 0 < (ticked or 0) <= spec.visitors
        # Another process, with nothing on its disk, does the next day's work.
        shutil.rmtree(days.work.folder / "state")
        days.clock.ahead += DAY
        async with days.running():
            await days.arrive()
            days.clock.ahead += 300 * DAY
            await days.arrive()
        # A clock that was set right again, as it is after a boot with a wrong one.
        days.clock.ahead -= 300 * DAY
        async with days.running():
            await days.arrive()
            assert not target.journal.violations
