"""A site whose wall clock is set, forward and back, while uploads run."""

from __future__ import annotations

import pytest

from consumer.sandbox.target import Endpoint, Fault, FaultKind
from tests.simulation.site import HOUR, MINUTE, VISITORS, sent, settle, site

BACK_AND_FORTH = (HOUR, -HOUR, -HOUR, HOUR, 24 * HOUR, -24 * HOUR)
DELIVERY = {"first_poll": "1m", "confirm_timeout": "10m"}


@pytest.mark.timeout(120)
async def test_uploads_go_on_whatever_is_done_to_the_clock() -> None:
    """Within the budget of the time that passes, to the latest row, in minutes."""
    async with site(replicas=2, delivery=DELIVERY) as world:
        world.order(
            Fault(FaultKind.NO_ANSWER, calls=5, probability=0.3, seconds=200.0),
            Fault(FaultKind.STUCK, calls=3, probability=0.3),
            Fault(FaultKind.HTTP_503, calls=5, probability=0.3),
        )
        for step in BACK_AND_FORTH:
            world.clock.jump(step)
            now = world.account.clock.now()
            for number in range(0, VISITORS, 10):
                world.change(f"v-{number}")
            await world.clock.run_for(3 * MINUTE)
            assert sent(world, now), "uploads do not wait for the clock"
        world.account.faults.cancel()
        world.unstick()
        await settle(world)
        assert world.behind() == {}


@pytest.mark.parametrize("ahead", [True, False])
async def test_what_is_due_is_due_by_the_time_that_passes(*, ahead: bool) -> None:
    """Statuses are asked for, and latest rows sent again, in due time after a step."""
    async with site(delivery=DELIVERY) as world:
        if ahead:
            world.clock.jump(HOUR)
        world.order(
            Fault(FaultKind.NO_ANSWER, seconds=300.0),
            Fault(FaultKind.SLOW, seconds=300.0),
        )
        began = world.account.clock.now()
        world.change("v-1")
        await world.clock.run_for(2 * MINUTE)
        world.clock.jump(-HOUR if ahead else HOUR)
        asked = world.account.journal.count(Endpoint.STATUS)
        await world.clock.run_for(6 * MINUTE)
        assert world.account.journal.count(Endpoint.STATUS) > asked
        early = len(sent(world, began))
        await world.clock.run_for(8 * MINUTE)
        assert len(sent(world, began)) == early + 1, "ten minutes after the doubt"
        await settle(world, minutes=10)
