"""Waits for a broker as long as a person does, for commands that only look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consumer.config import Settings

PATIENCE: Final = 10.0  # seconds; the service itself waits for `startup_timeout`


def reach(settings: Settings, patience: float | None = PATIENCE) -> None:
    """Return once a broker answers; BrokerUnreachable after `patience` seconds.

    None waits for `startup_timeout`.
    """
    import asyncio

    from consumer.clock import SystemClock
    from consumer.kafka.clients import wait_for_broker

    asyncio.run(wait_for_broker(settings, SystemClock(), patience))
