"""Where partitions end: with open transactions, or before the oldest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # exported, but not in its __all__

from consumer.kafka.clients import admin_client, passing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.config import Settings

SECONDS: Final = 10.0

Place: TypeAlias = tuple[str, int]


def source_ends(settings: Settings, partitions: int) -> list[int]:
    """Give where each partition of the source ends now, before open transactions.

    Raises `BrokerUnreachable` where one cannot be had: ask again.
    """
    places = [(settings.topics.source, number) for number in range(partitions)]
    found = Ends(settings).ask(places, stable=True)
    return [found[place] for place in places]


class Ends:
    """Asks the leaders of partitions; calls block."""

    def __init__(self, settings: Settings) -> None:
        """Make the client; nothing is asked yet."""
        self._settings = settings
        self._admin = admin_client(settings)

    def ask(self, places: Iterable[Place], *, stable: bool = False) -> dict[Place, int]:
        """Give the ends of partitions; with `stable` as a read_committed reader sees.

        Raises `BrokerUnreachable` where one cannot be had: ask again.
        """
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no types
        asked = {TopicPartition(*place): latest for place in places}
        if not asked:
            return {}
        level = (
            IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        )
        found = self._admin.list_offsets(
            asked, isolation_level=level, request_timeout=SECONDS
        )
        ends = {}
        for where, future in found.items():
            try:
                ends[where.topic, where.partition] = future.result().offset
            except KafkaException as error:
                # It asks with the leaders' epochs that it has learned; after a restart
                # of theirs they refuse them, and it does not learn anew for minutes
                # (https://github.com/confluentinc/librdkafka/issues/4620).
                self._admin = admin_client(self._settings)
                raise passing(error, "finding the end of a topic") from error
        return ends
