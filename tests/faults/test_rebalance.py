"""Instances that come and go: partitions move, purchases do not get lost between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.arena import Plan
from tests.faults.oracle import check

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(), id="cooperative"),
        pytest.param(Plan(strategy="range"), id="eager"),
        pytest.param(Plan(static=True), id="static"),
        pytest.param(Plan(protocol="consumer"), id="kip-848", marks=pytest.mark.sample),
        pytest.param(Plan(protocol="consumer", static=True), id="kip-848-static"),
    ],
)
def test_a_storm_of_instances(arenas: Arenas, plan: Plan) -> None:
    """From one to three, two, five, one: started, drained and killed as they come."""
    arena = arenas(plan)
    arena.produce()
    arena.start(0)
    arena.sleep_between(2.0, 4.0)
    arena.start(1)
    arena.sleep_between(0.0, 2.0)
    arena.start(2)
    arena.wait_ready(0, 1, 2)
    arena.sleep_between(0.0, 2.0)
    arena.drain(arena.random.choice([0, 1, 2]))
    arena.sleep_between(0.0, 2.0)
    for number in range(5):
        if number >= len(arena.instances) or not arena.instances[number].running:
            arena.start(number)
            arena.sleep_between(0.0, 1.0)
    arena.sleep_between(0.0, 4.0)
    leaving = arena.random.sample(arena.instances, 4)
    for one in leaving[:2]:
        one.kill()
    arena.drain(*[one.number for one in leaving[2:]])
    arena.finish()
    check(arena)


@pytest.mark.parametrize(
    "protocol", ["classic", pytest.param("consumer", marks=pytest.mark.sample)]
)
def test_a_static_member_that_was_killed_comes_back(
    arenas: Arenas, protocol: str
) -> None:
    """With the group still counting in who it was before, it waits to be let in."""
    arena = arenas(Plan(static=True, protocol=protocol))
    arena.produce()
    one = arena.start()
    arena.wait_committing()
    one.kill()
    one.start()
    arena.wait_ready()
    arena.finish()
    check(arena)
