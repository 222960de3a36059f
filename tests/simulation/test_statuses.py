"""Batches whose status is slow to come, or not told at the address that was given."""

from __future__ import annotations

from consumer.sandbox.target import Endpoint, Fault, FaultKind
from consumer.sandbox.target.faults import ALWAYS
from tests.simulation.site import MINUTE, sent, settle, site


async def test_silent_statuses_hold_no_visitor_back_for_longer() -> None:
    """However many batches wait for an answer, newer rows go after the timeout."""
    async with site(delivery={"confirm_timeout": "10m"}) as world:
        silent = Fault(FaultKind.LATE_ANSWER, on=Endpoint.STATUS, calls=ALWAYS)
        world.order(silent)
        for number in range(120):
            world.change(f"v-{number}")
            await world.clock.run_for(6)
        now = world.clock.now()
        for number in range(15):
            world.change(f"v-{number}")
        await world.clock.run_for(MINUTE)
        assert set(sent(world, now)) >= {f"v-{number}" for number in range(15)}
        world.account.faults.cancel()
        await settle(world)
        assert world.behind() == {}


async def test_where_a_status_asks_for_a_token_the_endpoint_is_asked() -> None:
    """No other host is given the token."""
    async with site(status_hosts=[".example"]) as world:
        world.order(Fault(FaultKind.UNAUTHORIZED, on=Endpoint.STATUS))
        world.asked.clear()
        world.change("v-1")
        await settle(world)
        first, *later = world.asked
        assert first.startswith("http://status.example/")
        assert later
        endpoint = world.settings.target.endpoint
        assert all(url.startswith(f"{endpoint}/m2/acme/") for url in later)
