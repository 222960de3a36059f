"""Finds transactions that stay open on our topics, by the offsets that they hold back.

A reader of committed records ends before the first record of the oldest open
transaction: the last stable offset. Where that stands still before the end, somebody
does not end a transaction. The client library cannot ask a partition for its producers
(DescribeProducers), so what is known is the partition, where the transaction begins,
and the time on its first record; who it is, `kafka-transactions.sh` tells.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer.errors import BrokerUnreachable
from consumer.kafka.clients import client_options, passing
from consumer.kafka.ends import Ends
from consumer.kafka.membership import without_group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.config import Settings
    from consumer.kafka.ends import Place

READ_SECONDS: Final = 10.0
OURS: Final = {
    "enable.auto.commit": "false",
    "isolation.level": "read_uncommitted",
    "auto.offset.reset": "error",
}


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """One partition's oldest open transaction.

    `first_offset` is its first record, which was written at `since`, in seconds since
    the epoch by its producer's clock; `held_back` counts the offsets behind it.
    """

    topic: str
    partition: int
    first_offset: int
    since: float
    held_back: int

    @property
    def what(self) -> str:
        """Say what was found, in one sentence."""
        begun = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds")
        return (
            f"A transaction has been open on {self.topic}, partition {self.partition}, "
            f"since {begun}: it begins at offset {self.first_offset} and hides "
            f"{self.held_back:,} offsets from all who read committed records."
        )

    def remedy(self, settings: Settings) -> str:
        """Say how to find out whose it is, and how to end it."""
        brokers = settings.kafka.bootstrap_servers
        tool = f"kafka-transactions.sh --bootstrap-server {brokers}"
        where = f"--topic {self.topic} --partition {self.partition}"
        return (
            f"Its producer: {tool} describe-producers {where}. If nobody will end it: "
            f"{tool} abort {where} --start-offset {self.first_offset}."
        )


class OpenTransactions:
    """Looks at partitions again and again; all calls block."""

    def __init__(self, settings: Settings, *, looks: int) -> None:
        """Give what was open at so many `looks` in a row; nothing is asked yet."""
        self._settings = settings
        self._looks = looks
        self._ends = Ends(settings)
        self._seen: Counter[tuple[Place, int]] = Counter()

    def look(self, places: Iterable[Place]) -> list[OpenTransaction]:
        """Look once. Raises what `broker_error` makes of an error."""
        asked = list(places)
        stable = self._ends.ask(asked, stable=True)
        ends = self._ends.ask(asked)
        held = [one for one in stable.items() if one[1] < ends[one[0]]]
        self._seen = Counter({one: self._seen[one] + 1 for one in held})
        still = {one: at for one, at in held if self._seen[one, at] >= self._looks}
        return [
            OpenTransaction(*one, at, since, ends[one] - at)
            for (one, at), since in zip(still.items(), self._times(still), strict=True)
        ]

    def _times(self, offsets: dict[Place, int]) -> list[float]:
        """Read the times on single records."""
        if not offsets:
            return []
        options = {
            **without_group(self._settings.kafka.for_consumer()),
            **OURS,
            # Required by the client, never joined: partitions are assigned by hand.
            "group.id": f"{self._settings.application}-transactions",
        }
        consumer = Consumer(client_options(self._settings, "transactions", options))
        try:
            return [
                _time(consumer, TopicPartition(*p, at)) for p, at in offsets.items()
            ]
        finally:
            consumer.close()


def _time(consumer: Consumer, where: TopicPartition) -> float:
    try:
        consumer.assign([where])
        found = consumer.consume(1, READ_SECONDS)
    except KafkaException as error:
        raise passing(error, "reading the record of an open transaction") from error
    for one in found:
        if (failure := one.error()) is not None:
            raise passing(failure, "reading the record of an open transaction")
        return one.timestamp()[1] / 1_000.0
    raise BrokerUnreachable("The record of an open transaction did not come in time.")
