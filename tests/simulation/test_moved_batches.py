"""What one owner knows of a batch, the next one must know: it may land over newer rows.

Each time a batch of an old row is let go late, after its partition has moved.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from consumer.clock import ManualClock
from consumer.sandbox.target import Endpoint, Fault, FaultKind, TargetOptions
from consumer.sandbox.target.faults import ALWAYS
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MINUTE = 60
DENIED = Fault(FaultKind.FORGOTTEN, on=Endpoint.STATUS, calls=ALWAYS)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """One replica, whose batches may take five minutes before that is too long."""
    made = World(
        ManualClock(),
        TargetOptions(processing_time=30.0),
        seed=3,
        partitions=2,
        target={
            "batch": {"max_age": "5s"},
            "delivery": {"first_poll": "20s", "confirm_timeout": "5m"},
        },
    )
    try:
        await made.share(1)
        yield made
        await made.clock.run_for(60 * MINUTE)
        assert made.settled
        assert made.behind() == {}
    finally:
        await made.close()


def shown(site: World) -> str | None:
    """Return the version that Target shows."""
    return (site.account.profile("v") or {}).get("version_seen")


async def lands_late(site: World) -> None:
    """Let time pass until the old row has landed over the new one."""
    for _ in range(10 * MINUTE):
        await site.clock.run_for(1)
        if shown(site) == "1":
            return
    message = "the old row does not land"
    raise AssertionError(message)


async def test_a_batch_that_was_seen_stuck_is_asked_for_by_its_next_owner() -> None:
    """Although it is denied from then on, until a day has passed."""
    async with world() as site:
        site.order(Fault(FaultKind.STUCK))
        site.change("v")
        await site.clock.run_for(3 * MINUTE)
        await site.crash(0)
        site.order(DENIED)
        site.change("v")
        await site.clock.run_for(15 * MINUTE)
        site.account.faults.cancel()
        await site.clock.run_for(15 * MINUTE)
        assert shown(site) == "2"
        site.unstick()
        assert shown(site) == "1"


async def test_a_batch_that_took_too_long_is_mended_by_its_next_owner() -> None:
    """Its visitors were let go, so a newer row may have landed before it."""
    async with world() as site:
        site.order(Fault(FaultKind.SLOW, seconds=1_000.0))
        site.change("v")
        await site.clock.run_for(8 * MINUTE)
        site.change("v")
        await site.clock.run_for(2 * MINUTE)
        assert shown(site) == "2"
        await site.crash(0)
        await lands_late(site)


async def test_a_batch_that_was_denied_is_mended_by_its_next_owner() -> None:
    """Its rows were sent again at once, and it landed after all."""
    async with world() as site:
        site.order(Fault(FaultKind.SLOW, seconds=240.0), DENIED)
        site.change("v")
        await site.clock.run_for(MINUTE)
        site.change("v")
        await site.clock.run_for(2 * MINUTE)
        site.account.faults.cancel()
        assert shown(site) == "2"
        await site.crash(0)
        await lands_late(site)


async def test_one_denial_after_the_timeout_gives_no_batch_up() -> None:
    """It is asked for on, and so its rows are mended when it lands after all."""
    async with world() as site:
        site.order(Fault(FaultKind.SLOW, seconds=1_500.0))
        site.change("v")
        await site.clock.run_for(8 * MINUTE)
        site.order(Fault(FaultKind.FORGOTTEN, on=Endpoint.STATUS))
        await site.clock.run_for(4 * MINUTE)
        assert not [*site.account.faults.open()], "it was denied once"
        site.change("v")
        await site.clock.run_for(4 * MINUTE)
        assert shown(site) == "2"
        await lands_late(site)


async def test_denied_batches_do_not_fill_the_budget() -> None:
    """Where no batch is ever found, rows are sent again more and more seldom."""
    async with world() as site:
        site.order(DENIED)
        site.change("v")
        await site.clock.run_for(60 * MINUTE)
        assert 2 <= len([*site.account.journal.rows("v")]) <= 12
        registry = site.replicas[0].metrics.registry
        ends = {"end": "forgotten"}
        assert registry.get_sample_value("pos_consumer_batch_ends_total", ends)
        site.account.faults.cancel()


async def test_the_membership_is_confirmed_in_time_however_short_the_session() -> None:
    """Otherwise no file that is a while on its way could ever end."""
    async with world() as site:
        reader = site.replicas[0].reader
        reader.session_seconds = 6.0
        await site.clock.run_for(MINUTE)
        ages = []
        for _ in range(60):
            await site.clock.run_for(0.5)
            ages.append(site.clock.monotonic() - reader.committed_at)
        assert max(ages) < reader.session_seconds / 4
