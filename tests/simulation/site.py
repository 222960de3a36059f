"""A small site where every visitor has a profile, and Target has it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from consumer.clock import ManualClock
from consumer.sandbox.target import TargetOptions
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MINUTE = 60
HOUR = 60 * MINUTE
VISITORS = 300
PARTITIONS = 3


@asynccontextmanager
async def site(
    *,
    replicas: int = 1,
    delivery: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **target: Any,  # noqa: ANN401 - as in a file
) -> AsyncIterator[World]:
    """A site where every visitor has a profile, and Target has it."""
    made = World(
        ManualClock(),
        TargetOptions(processing_time=30.0, **(options or {})),
        seed=3,
        partitions=PARTITIONS,
        target={
            "batch": {"max_rows": 100, "max_age": "5s"},
            "delivery": {"first_poll": "1m", **(delivery or {})},
            **target,
        },
    )
    try:
        await made.share(replicas)
        for number in range(VISITORS):
            made.change(f"v-{number}")
        await settle(made)
        yield made
        assert made.account.journal.violations == []
        assert made.account.journal.busiest_minute() <= 50
    finally:
        await made.close()


async def settle(world: World, minutes: int = 60) -> None:
    """Let time pass until nothing is left to do."""
    for _ in range(minutes):
        await world.clock.run_for(MINUTE)
        if world.settled:
            return
    message = "it does not settle"
    raise AssertionError(message)


def sent(world: World, since: float) -> list[str]:
    """Return the visitors of all rows that were uploaded since, in their order."""
    return [row.visitor for row in world.account.journal.rows() if row.at >= since]
