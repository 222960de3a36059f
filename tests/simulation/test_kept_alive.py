"""Unchanged profiles are sent again before Target forgets them."""

from __future__ import annotations

from consumer.stages import upload_resync
from tests.simulation.site import HOUR, MINUTE, VISITORS, sent, site

LIFE = HOUR  # of a profile at Target: days in the world, hours here


async def test_profiles_are_kept_alive() -> None:
    """Nobody's profile expires at Target, and the rows are spread over the time."""
    async with site(keep_alive=LIFE, options={"profile_lifetime": LIFE}) as world:
        began = world.clock.now()
        for minute in range(90):
            await world.clock.run_for(MINUTE)
            assert world.behind() == {}, f"after {minute} minutes"
        assert len(sent(world, began)) <= VISITORS * (1.5 * upload_resync.LIVES + 1)
        parts = [
            len(sent(world, at)) - len(sent(world, at + 10 * MINUTE))
            for at in range(int(began) + 40 * MINUTE, int(began) + 80 * MINUTE, 600)
        ]
        assert max(parts) < 1.5 * sum(parts) / len(parts)


async def test_without_keep_alive_profiles_expire() -> None:
    """So that the test above could fail."""
    async with site(options={"profile_lifetime": LIFE}) as world:
        await world.clock.run_for(LIFE + 10 * MINUTE)
        assert len(world.behind()) == VISITORS


async def test_a_profile_that_changes_is_not_kept_alive_besides() -> None:
    """Its own changes keep it alive; nothing more is sent for it."""
    async with site(keep_alive=LIFE, options={"profile_lifetime": LIFE}) as world:
        began = world.clock.now()
        for _ in range(30):
            world.change("v-1")
            await world.clock.run_for(MINUTE)
        assert sent(world, began).count("v-1") <= 30


async def test_keep_alive_makes_good_what_was_missed() -> None:
    """Away for a whole round, the next one is still in time; owners change as well."""
    async with site(keep_alive=LIFE, options={"profile_lifetime": LIFE}) as world:
        for minute in range(95):
            await world.clock.run_for(MINUTE)
            if minute == 30:
                await world.replicas[0].crash()
            if minute in {50, 85}:
                await world.crash(0)
            assert world.behind() == {}, f"after {minute} minutes"
