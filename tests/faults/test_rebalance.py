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
        pytest.param(Plan(protocol="consumer"), id="kip-848"),
        pytest.param(Plan(protocol="consumer", static=True), id="kip-848-static"),
    ],
)
def test_a_storm_of_instances(arenas: Arenas, plan: Plan) -> None:
    """From one to three, to two, to one: started, drained and killed as they come."""
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
    left = [one for one in arena.instances if one.running]
    arena.random.choice(left).kill()
    arena.finish()
    check(arena)
