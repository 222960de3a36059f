"""Waiting for something to happen, or for a time by the injected clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.clock import Clock


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float | None) -> bool:
    """Return True as soon as the event is set, False after `seconds` without it."""
    if event.is_set():
        return True
    if seconds is None:
        return await event.wait()
    happened = asyncio.ensure_future(event.wait())
    passed = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((happened, passed), return_when=asyncio.FIRST_COMPLETED)
        return happened.done()
    finally:
        for task in (happened, passed):
            task.cancel()
        await asyncio.gather(happened, passed, return_exceptions=True)
