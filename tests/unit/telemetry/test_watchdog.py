"""When a loop hangs, the log says where."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import structlog

from consumer.clock import ManualClock
from consumer.telemetry.health import Health
from consumer.telemetry.watchdog import Watchdog, stacks

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def looked(watchdog: Watchdog) -> list[MutableMapping[str, object]]:
    """Let it look once and return what it logged."""
    with structlog.testing.capture_logs() as logged:
        watchdog.look()
    return logged


def test_a_stall_is_told_once_with_all_stacks() -> None:
    """Not again while it lasts, but again when it comes back."""
    health, clock = Health(), ManualClock(monotonic=100.0)
    loop = health.component("aggregate", stalled_after=30)
    watchdog = Watchdog(health, clock)
    loop.beat(clock.monotonic())
    assert looked(watchdog) == []
    clock.advance(31)
    (line,) = looked(watchdog)
    assert line["loops"] == {"aggregate": 31}
    assert "test_a_stall_is_told_once" in str(line["stacks"])
    assert looked(watchdog) == []
    loop.beat(clock.monotonic())
    assert looked(watchdog) == []
    clock.advance(31)
    assert len(looked(watchdog)) == 1


async def test_the_stacks_tell_threads_and_tasks_by_name() -> None:
    """A thread that hangs and a task that waits can both be found."""
    release = threading.Event()

    def hang_here() -> None:
        release.wait()

    async def wait_here() -> None:
        await asyncio.Event().wait()

    thread = threading.Thread(target=hang_here, name="hung")
    thread.start()
    task = asyncio.create_task(wait_here(), name="waiter")
    await asyncio.sleep(0)
    try:
        text = stacks(asyncio.get_running_loop())
    finally:
        release.set()
        thread.join()
        task.cancel()
    assert "thread hung:" in text
    assert "hang_here" in text
    assert "task waiter:" in text
    assert "wait_here" in text


async def test_it_watches_while_it_is_entered() -> None:
    """Its thread ends with it."""
    async with Watchdog(Health(), ManualClock()):
        assert any(t.name == "watchdog" for t in threading.enumerate())
    assert not any(t.name == "watchdog" for t in threading.enumerate())
