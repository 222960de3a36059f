"""The gate that lets calls to Target through."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from consumer.clock import ManualClock
from consumer.stages.call_gate import CallGate, CallKind
from consumer.target.budget import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

SLOTS = Slots(per_minute=40, partitions=8)


class Replica:
    """A gate, and a task for each call that it is asked for."""

    def __init__(self, clock: ManualClock, owned: Collection[int]) -> None:
        self.owned = set(owned)
        self.is_fresh = True
        self.clock = clock
        self.gate = CallGate(SLOTS, clock, lambda: self.owned, self.fresh)
        self.calls: list[tuple[float, CallKind]] = []
        self.times: list[float] = []  # monotonic
        self.tasks = [asyncio.create_task(self.gate.run())]

    async def fresh(self) -> bool:
        """Whether the group has confirmed the membership."""
        return self.is_fresh

    def ask(self, kind: CallKind, count: int = 1) -> None:
        """Queue calls."""
        self.tasks += [asyncio.create_task(self._call(kind)) for _ in range(count)]

    async def _call(self, kind: CallKind) -> None:
        await self.gate.take(kind)
        self.calls.append((self.clock.now(), kind))
        self.times.append(self.clock.monotonic())


@pytest.fixture
async def clock() -> AsyncIterator[ManualClock]:
    """A clock; tasks that are left are cancelled."""
    yield ManualClock()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def test_three_replicas_never_exceed_the_budget(clock: ManualClock) -> None:
    """However much they want, any 60 seconds see at most one call over the slots."""
    replicas = [Replica(clock, owned) for owned in ({0, 3, 6}, {1, 4, 7}, {2, 5})]
    for replica in replicas:
        replica.ask("submit", 100)
        replica.ask("status", 100)
    await clock.run_for(300)
    calls = sorted(at for replica in replicas for at, _ in replica.calls)
    busiest = max(sum(at <= other < at + 60 for other in calls) for at in calls)
    assert busiest <= SLOTS.per_minute + 1
    assert len(calls) >= 5 * SLOTS.per_minute - 1


async def test_statuses_neither_starve_files_nor_are_starved(
    clock: ManualClock,
) -> None:
    """With both waiting, one call in two asks for a status."""
    replica = Replica(clock, range(8))
    replica.ask("submit", 60)
    replica.ask("status", 60)
    await clock.run_for(60)
    kinds = [kind for _, kind in replica.calls]
    assert kinds.count("status") == pytest.approx(len(kinds) / 2, abs=1)


async def test_fetches_go_when_no_status_waits(clock: ManualClock) -> None:
    """They measure; what files and statuses need comes first."""
    replica = Replica(clock, range(8))
    replica.ask("fetch", 60)
    replica.ask("submit", 60)
    replica.ask("status", 5)
    await clock.run_for(60)
    kinds = [kind for _, kind in replica.calls]
    asks = [kind for kind in kinds if kind != "submit"]
    assert asks[:5] == ["status"] * 5
    assert set(asks[5:]) == {"fetch"}
    assert len(asks) == pytest.approx(len(kinds) / 2, abs=1)


async def test_nothing_passes_while_the_membership_is_in_doubt(
    clock: ManualClock,
) -> None:
    """A zombie stays silent until the group has confirmed it."""
    replica = Replica(clock, range(8))
    replica.is_fresh = False
    replica.ask("submit")
    await clock.run_for(30)
    assert replica.calls == []
    replica.is_fresh = True
    await clock.run_for(5)
    assert len(replica.calls) == 1


async def test_a_slot_that_was_slept_through_is_lost(clock: ManualClock) -> None:
    """A process may be frozen between the grant and the call: it asks anew."""
    replica = Replica(clock, {3})
    freezes = iter([30.0, 30.0])

    async def fresh() -> bool:
        asyncio.get_running_loop().call_soon(clock.advance, next(freezes, 0.0))
        return True

    replica.gate._fresh = fresh
    replica.ask("submit")
    await clock.run_for(120)
    ((at, _),) = replica.calls
    assert next(freezes, None) is None
    slot = SLOTS.at(at)
    assert slot % SLOTS.partitions == 3
    assert SLOTS.start(slot) <= at < SLOTS.start(slot) + 1.0


async def test_slots_of_partitions_that_left_are_not_used(clock: ManualClock) -> None:
    """A slot that was waited for is given up when its partition goes."""
    replica = Replica(clock, {3})
    replica.ask("submit")
    replica.owned.clear()
    await clock.run_for(60)
    assert replica.calls == []
    assert replica.gate.seconds_to_next() is None


async def test_a_hold_concerns_every_call(clock: ManualClock) -> None:
    """Throttling slows the account's whole share."""
    replica = Replica(clock, range(8))
    began = clock.now()
    replica.gate.hold(20)
    replica.ask("submit")
    replica.ask("status")
    await clock.run_for(30)
    assert len(replica.calls) == 2
    assert all(at >= began + 20 for at, _ in replica.calls)


async def test_a_cancelled_call_costs_no_slot(clock: ManualClock) -> None:
    """The next one in the queue goes instead."""
    replica = Replica(clock, range(8))
    replica.gate.hold(5)
    replica.ask("submit", 2)
    await clock.run_for(1)
    replica.tasks[1].cancel()
    await clock.run_for(6)
    assert len(replica.calls) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_a_clock_that_is_set_again_and_again_exceeds_no_budget(
    clock: ManualClock, seed: int
) -> None:
    """Not in any 60 seconds that pass; and calls go on when it is left alone."""
    chance = Random(seed)
    replicas = [Replica(clock, owned) for owned in ({0, 3, 6}, {1, 4, 7}, {2, 5})]
    for replica in replicas:
        replica.ask("submit", 500)
    for _ in range(60):
        hour = 3_600 * chance.choice((1, -1)) + chance.choice((0.0, chance.random()))
        clock.jump(chance.choice((hour, hour, chance.uniform(-9, 9))))
        await clock.run_for(chance.choice((0.3, 2.0, 20.0, 70.0, 130.0)))
    last_set = clock.monotonic()
    await clock.run_for(180)
    times = sorted(at for replica in replicas for at in replica.times)
    busiest = max(sum(at <= other < at + 60 for other in times) for at in times)
    assert busiest <= SLOTS.per_minute + len(replicas)
    for replica in replicas:
        share = len(replica.owned) * SLOTS.per_minute / SLOTS.partitions
        after = sum(at >= last_set + 62 for at in replica.times)
        assert after >= share * (180 - 62) / 60 - 1


@pytest.mark.parametrize("hours", [1, -1])
async def test_calls_go_on_a_minute_after_the_clock_was_set(
    clock: ManualClock, hours: int
) -> None:
    """However far it was set, and twice."""
    replica = Replica(clock, range(8))
    replica.ask("submit", 200)
    for step in (hours, -hours):
        await clock.run_for(30)
        before = len(replica.times)
        clock.jump(step * 3_600)
        await clock.run_for(70)
        [first, *_] = replica.times[before:]
        assert 60 <= first - replica.times[before - 1] <= 62


async def test_a_hold_lasts_as_long_as_was_asked_whatever_the_clock_says(
    clock: ManualClock,
) -> None:
    """It is kept by the time that passes."""
    replica = Replica(clock, range(8))
    replica.gate.hold(300)
    replica.ask("submit")
    clock.jump(3_600)
    await clock.run_for(299)
    assert not replica.times
    clock.jump(-3_600)
    await clock.run_for(3)
    assert len(replica.times) == 1
