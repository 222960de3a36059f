"""Planned changes: an instance more, an instance less, and what that costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.arena import Plan
from tests.faults.oracle import check
from tests.faults.waits import Waits

if TYPE_CHECKING:
    from tests.faults.arena import Arena
    from tests.faults.conftest import Arenas
    from tests.faults.instance import Instance

PARTITIONS: Final = 8
LONGEST_SECONDS: Final = 10.0
CALM_SECONDS: Final = 3.0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_only_what_must_move_moves_and_nothing_waits_for_long(
    arenas: Arenas, protocol: str
) -> None:
    """Three instances share eight partitions; a fourth comes, and one goes."""
    arena = arenas(Plan(protocol=protocol, partitions=PARTITIONS, rate=800.0))
    for number in range(3):
        arena.start(number)
    arena.wait_ready(0, 1, 2)
    arena.produce()
    _wait_shared(arena, [3, 3, 2])
    with Waits(arena) as waits:
        arena.sleep(CALM_SECONDS)
        before, given_up = _owners(arena), _given_up(arena.instances)
        arena.start(3)
        _wait_shared(arena, [2, 2, 2, 2])
        after = _owners(arena)
        moved = {n for n in after if after[n] != before[n]}
        assert moved == {n for n in after if after[n] == 3}
        assert _given_up(arena.instances) - given_up == len(moved) == 2

        arena.sleep(CALM_SECONDS)
        before, leaving = after, arena.random.randrange(4)
        staying = [one for one in arena.instances if one.number != leaving]
        given_up = _given_up(staying)
        arena.drain(leaving)
        _wait_shared(arena, [3, 3, 2])
        after = _owners(arena)
        moved = {n for n in after if after[n] != before[n]}
        assert moved == {n for n in before if before[n] == leaving}
        assert _given_up(staying) == given_up
        arena.sleep(CALM_SECONDS)
        arena.finish()
    longest = waits.longest()
    print(f"{protocol}: the longest wait was {longest:.1f} s")  # noqa: T201 - a figure
    assert longest < LONGEST_SECONDS
    check(arena)


def _owners(arena: Arena) -> dict[int, int]:
    """Give the instance that each partition belongs to."""
    return {
        number: one.number
        for one in arena.instances
        if one.running
        for number in one.partitions("aggregate")
    }


def _wait_shared(arena: Arena, counts: list[int]) -> None:
    """Wait until the partitions are shared out like this, and restored."""

    def shared() -> bool:
        running = [one for one in arena.instances if one.running]
        held = sorted(
            (len(one.partitions("aggregate")) for one in running), reverse=True
        )
        ready = all(one.metrics().total("pos_consumer_ready") == 1 for one in running)
        return held == counts and ready

    arena.wait_for(shared, f"the partitions are not shared as {counts}")


def _given_up(instances: list[Instance]) -> int:
    """Count the partitions that instances have had to give up so far."""
    count = 0
    for one in instances:
        for line in one.work.log.read_text(encoding="utf-8").splitlines():
            if '"assignment changed"' in line:
                said = json.loads(line)
                if said["kind"] != "assigned":
                    count += len(said["partitions"])
    return count
