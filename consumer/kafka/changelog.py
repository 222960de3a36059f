"""Read `profiles` and `state` from a position to their end, for a restore.

The end is taken `read_uncommitted`, since the end that a `read_committed` reader sees
lies before any open transaction; reading is `read_committed` and waits until the
position has reached that end, so open transactions are waited out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from consumer.kafka.clients import client_options, passing
from consumer.kafka.ends import Ends
from consumer.kafka.input import read_ahead
from consumer.kafka.membership import without_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.config import Settings
    from consumer.kafka.ends import Place

MOST_RECORDS: Final = 50_000
OURS: Final = {
    "enable.auto.commit": "false",
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.partition.eof": "true",
}


@dataclass(frozen=True, slots=True)
class Tail:
    """Records of one partition in order, and the next offset after them."""

    topic: str
    partition: int
    keys: Sequence[bytes]
    values: Sequence[bytes | None]
    next_offset: int


class Changelog:
    """Reads partitions of our own topics to ends fixed at the start."""

    def __init__(self, settings: Settings) -> None:
        """Make the clients; nothing is read yet."""
        options = {
            **read_ahead(settings),
            **without_group(settings.kafka.for_consumer()),
            **OURS,
            # Required by the client, never joined: partitions are assigned by hand.
            "group.id": f"{settings.application}-restore",
        }
        self._at_end = Ends(settings)
        self._consumer = Consumer(client_options(settings, "restore", options))
        self._ends: dict[Place, int] = {}

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Give the ends of partitions, open transactions included."""
        return self._at_end.ask(places)

    def add(self, positions: Mapping[Place, int]) -> None:
        """Read further partitions, each from its position to its present end."""
        ends = self.ends(positions)
        wanted = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in positions.items()
            if offset < ends[topic, partition]
        ]
        self._ends.update(
            {
                (one.topic, one.partition): ends[one.topic, one.partition]
                for one in wanted
            }
        )
        if wanted:
            self._consumer.incremental_assign(wanted)

    def remove(self, places: Iterable[Place]) -> None:
        """Stop reading partitions."""
        leaving = [place for place in places if self._ends.pop(place, None) is not None]
        if leaving:
            self._consumer.incremental_unassign([TopicPartition(*p) for p in leaving])

    def pending(self, place: Place) -> bool:
        """Tell whether a partition has not reached its end."""
        return place in self._ends

    def left(self, place: Place, at: int) -> int:
        """Give the records from an offset to the end, 0 where it has been reached."""
        return max(0, self._ends.get(place, at) - at)

    @property
    def idle(self) -> bool:
        """Whether nothing is being read."""
        return not self._ends

    def read(self, timeout: float) -> list[Tail]:
        """Read on; a partition that reaches its end is no longer pending after."""
        if self.idle:
            return []
        found: dict[Place, tuple[list[bytes], list[bytes | None]]] = {}
        reached: dict[Place, int] = {}
        for one in self._consumer.consume(MOST_RECORDS, timeout):
            place = one.topic() or "", one.partition() or 0
            if place not in self._ends:
                continue
            error = one.error()
            if error is not None:
                # Only the end-of-partition event tells where trailing markers of
                # transactions end; its offset is the next one to read.
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                    raise passing(error, "restoring from our topics")
                reached[place] = one.offset() or 0
                continue
            keys, values = found.setdefault(place, ([], []))
            keys.append(one.key() or b"")
            values.append(one.value())
            reached[place] = (one.offset() or 0) + 1
        tails = [
            Tail(*place, *found.get(place, ([], [])), next_offset=offset)
            for place, offset in reached.items()
        ]
        self.remove([p for p, offset in reached.items() if offset >= self._ends[p]])
        return tails

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()
