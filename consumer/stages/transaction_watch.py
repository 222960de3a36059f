"""Reports transactions of others that stay open on our topics.

Ours end within their timeout, ten seconds, even when their process dies; the broker
sees to it. What stands longer is somebody else's, and holds up every takeover and every
upload of its partition.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from consumer.errors import PosConsumerError
from consumer.kafka.open_transactions import OpenTransactions
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.ends import Place
    from consumer.kafka.open_transactions import OpenTransaction
    from consumer.telemetry.health import Component

LOOK_SECONDS: Final = 10.0
LOOKS: Final = 4
"""It has then stood for 30 s: longer than its timeout and the broker's round."""

log = get_logger(__name__)


class TransactionWatch:
    """Looks now and then; `run` is its loop."""

    def __init__(
        self,
        settings: Settings,
        partitions: int,
        *,
        clock: Clock,
        health: Component,
    ) -> None:
        """Watch all partitions of `profiles` and `state`."""
        topics = settings.topics
        self._settings = settings
        names = topics.profiles, topics.state
        self._places = [(name, n) for name in names for n in range(partitions)]
        self._clock = clock
        self._health = health
        self._told: set[Place] = set()
        health.ready()

    async def run(self) -> None:
        """Look until cancelled; a broker that does not answer shows elsewhere."""
        watched = await asyncio.to_thread(OpenTransactions, self._settings, looks=LOOKS)
        while True:
            try:
                found = await asyncio.to_thread(watched.look, self._places)
            except PosConsumerError as error:
                log.debug("Open transactions could not be looked for.", why=error.what)
            else:
                self.report({(one.topic, one.partition): one for one in found})
            await self._clock.sleep(LOOK_SECONDS)

    def report(self, found: Mapping[Place, OpenTransaction]) -> None:
        """Tell the log and health what is open, and what is no longer."""
        for topic, partition in self._told - found.keys():
            log.info("A transaction has ended.", topic=topic, partition=partition)
        for place in found.keys() - self._told:
            log.error(
                "A transaction of another producer does not end.",
                what=found[place].what,
                remedy=found[place].remedy(self._settings),
            )
        self._told = set(found)
        self._health.degrade(
            {f"{topic} {n}": one.what for (topic, n), one in found.items()}
        )
