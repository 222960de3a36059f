"""A stage's transactional producer: made when needed, replaced after anything unclean.

The `transactional.id` comes from the id kept in the state directory, so that a
restarted process fences its own past. Two processes on one id (a copied state
directory) fence each other: fenced twice in five minutes, this one takes a fresh id.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from consumer.errors import ProducerFenced
from consumer.kafka.transaction import TransactionalProducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.config import Settings
    from consumer.errors import PosConsumerError
    from consumer.kafka.statistics import ClientStatistics
    from consumer.profiles.directory import StateDirectory

log = structlog.get_logger(__name__)

FENCED_WITHIN_SECONDS: Final = 300.0


class Producers:
    """Gives the present producer. Used by the stage's thread only."""

    def __init__(
        self,
        settings: Settings,
        directory: StateDirectory,
        on_statistics: Callable[[ClientStatistics], None] | None = None,
        *,
        stage: str = "",
    ) -> None:
        """Make none yet. Stages of one process have ids of their own by `stage`."""
        self._settings = settings
        self._directory = directory
        self._on_statistics = on_statistics
        self._stage = stage
        self._present: TransactionalProducer | None = None
        self._fenced_at: float | None = None

    def present(self) -> TransactionalProducer:
        """Give the producer. Raises what `broker_error` makes where none can be."""
        if self._present is None:
            infix = f"-{self._stage}" if self._stage else ""
            self._present = TransactionalProducer(
                self._settings,
                f"{self._settings.application}{infix}-{self._directory.replica_id}",
                self._on_statistics,
                stage=self._stage or "aggregate",
            )
        return self._present

    def discard(self, error: PosConsumerError) -> None:
        """Close it after `error`, whose outcome at the broker may be unknown."""
        self.close()
        if not isinstance(error, ProducerFenced):
            return
        now = time.monotonic()
        before, self._fenced_at = self._fenced_at, now
        if before is not None and now - before < FENCED_WITHIN_SECONDS:
            self._directory.renew_replica_id()
            log.warning("fenced twice: taking a transactional id of our own")

    def close(self) -> None:
        """Close it; nothing that was not committed is waited for."""
        producer, self._present = self._present, None
        if producer is not None:
            producer.close()
