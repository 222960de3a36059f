"""The manual clock moves only when told, and wakes who is due."""

from __future__ import annotations

import asyncio

import pytest

from consumer.clock import SLEWED, Clock, ManualClock, SystemClock, WallSteps


def test_both_times_move_together() -> None:
    """Wall time and monotonic time advance by the same seconds."""
    clock = ManualClock(now=100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    """One step past several deadlines wakes the earliest first, the rest not."""
    clock = ManualClock()
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3), ("early", 1), ("last", 9)):
            group.create_task(sleeper(name, seconds))
        await asyncio.sleep(0)
        clock.advance(3)
        for _ in range(3):
            await asyncio.sleep(0)
        assert woken == ["early", "late"]
        await clock.run_for(6)
    assert woken == ["early", "late", "last"]


async def test_run_for_lets_a_periodic_task_see_each_of_its_deadlines() -> None:
    """A loop that sleeps a second at a time runs once for each second."""
    clock = ManualClock(now=0.0)
    seen: list[float] = []

    async def every_second() -> None:
        while True:
            await clock.sleep(1)
            seen.append(clock.now())

    task = asyncio.create_task(every_second())
    await clock.run_for(3.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [1.0, 2.0, 3.0]
    assert clock.now() == 3.5


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Advancing past a cancelled sleep disturbs nobody."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    clock.advance(2)
    assert clock.monotonic() == 2


async def test_sleeping_no_time_only_yields() -> None:
    """Zero or less returns without the clock being moved, on either clock."""
    clocks: list[Clock] = [ManualClock(), SystemClock()]
    for clock in clocks:
        before = clock.monotonic()
        async with asyncio.timeout(1):
            await clock.sleep(-5)
        assert clock.monotonic() - before < 1


async def test_the_system_clock_sleeps_and_tells_both_times() -> None:
    """Sleeping moves monotonic time by at least what was asked."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.019
    assert clock.now() > 1_700_000_000


def test_a_clock_that_is_set_is_noticed_once() -> None:
    """Forward or back, by how much, and then it is the time."""
    clock = ManualClock()
    steps = WallSteps(clock)
    for step in (3_600.0, -3_600.0, 2 * SLEWED):
        clock.advance(5)
        assert steps.step() == 0
        clock.jump(step)
        assert steps.step() == pytest.approx(step)
        assert steps.step() == 0


def test_small_steps_add_up_and_slow_drift_does_not() -> None:
    """A time daemon's slewing is no step; many small steps in a minute are one."""
    clock = ManualClock()
    steps = WallSteps(clock)
    for _ in range(1_000):
        clock.advance(10)
        clock.jump(0.01)
        assert steps.step() == 0
    clock.jump(0.4)
    assert steps.step() == 0
    clock.jump(0.4)
    assert steps.step() != 0
