"""Which stores were away for too long to go on from their tails.

What was deleted from `profiles` while a store was away is known by its tombstone alone,
and compaction removes that in the end. A store that was away for longer than half of
the time tombstones are kept for may have missed one: what it has is not trusted, it is
rebuilt from the topics. The other half is for the restore itself, and for clocks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from consumer.profiles.store import Changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.kafka.topics import Cluster
    from consumer.profiles.directory import StateDirectory
    from consumer.profiles.store import PartitionStore

log = structlog.get_logger(__name__)

UNKNOWN_SECONDS: Final = 86_400.0  # Kafka's default
# A clock that is set right between two starts is not worth a restore.
CLOCK_SECONDS: Final = 60.0


class Away:
    """Judges stores when they come back, by the wall clock."""

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        """Take how long the topics that stores are restored from keep tombstones."""
        kept = [cluster.tombstones.get(name, UNKNOWN_SECONDS) for name in topics]
        self._most = min(kept) / 2

    def too_long(self, store: PartitionStore) -> str | None:
        """Tell why a store cannot go on from its tails; None where it can.

        One that has read nothing yet is as of now: whatever it reads from now on, its
        tombstone is still to be found for as long as tombstones are kept.
        """
        now, followed = time.time(), store.followed
        if store.meta("tails") is None:
            store.commit(Changes(followed=now))
            return None
        if followed is None:
            return "it does not say when it last followed its topics"
        if followed > now + CLOCK_SECONDS:
            return "it last followed its topics in the future, by this clock"
        if now - followed > self._most:
            return (
                f"it was away for {(now - followed) / 3_600:.1f} h; what was deleted "
                f"is known for sure for {self._most / 3_600:.1f} h only"
            )
        return None

    def remove(self, directory: StateDirectory) -> None:
        """Delete the stores that nobody wrote to for so long: they would be no use."""
        for number in directory.unwritten_since(time.time() - self._most):
            log.warning(
                "a store that was not written to for so long was removed: should its "
                "partition come back, it is rebuilt from the topics",
                partition=number,
                hours=round(self._most / 3_600, 1),
            )
            directory.discard(number)
