"""Read a topic as a bystander: without a group, committing nothing, up to its end.

Leaves: `Records` in order of offsets within each partition. The end is the last stable
offset, taken when a partition's turn comes: an open transaction is not waited for, and
what is written meanwhile is not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import BrokerUnreachable, TopicAbsent
from consumer.frames import Records
from consumer.kafka.clients import broker_error, client_options
from consumer.kafka.membership import without_group
from consumer.kafka.messages import to_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from confluent_kafka import Message

    from consumer.config import Settings

CALL_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 30.0
MOST_RECORDS: Final = 500  # at once: dead letters may be a megabyte each
# Markers of transactions and compaction leave gaps: fewer records than offsets.
WIDENED: Final = 4
NARROWEST: Final = 100  # offsets of a first look back from the end
OURS: Final = {
    "enable.auto.commit": "false",
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.partition.eof": "true",
    "queued.max.messages.kbytes": "65536",
    # At its end a partition is asked once more, in vain: that must not take long.
    "fetch.wait.max.ms": "10",
}


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a partition has been read, from `first` on: up to `at` of `end`."""

    topic: str
    partition: int
    first: int
    at: int
    end: int


class Excerpt:
    """Reads parts of one topic. All calls block; it is a context manager."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        *,
        at_once: int = MOST_RECORDS,
        on_progress: Callable[[Reached], None] = lambda _: None,
    ) -> None:
        """Make the client; nothing is read yet.

        `at_once` bounds the records of one batch; `on_progress` is told each time.
        """
        self._at_once = at_once
        self._on_progress = on_progress
        options = {
            **without_group(settings.kafka.for_consumer()),
            **OURS,
            # Required by the client, never joined: partitions are assigned by hand.
            "group.id": f"{settings.application}-excerpt",
        }
        self._settings = settings
        self._topic = topic
        self._consumer = Consumer(client_options(settings, "excerpt", options))

    def __enter__(self) -> Self:
        """Give the excerpt itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self._consumer.close()

    def partitions(self) -> list[int]:
        """Give the topic's partition numbers; `TopicAbsent` where there is none."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=CALL_SECONDS)
        except KafkaException as error:
            raise broker_error(error, f"describing topic {self._topic}") from error
        described = found.topics[self._topic]
        if described.error is not None:
            if described.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicAbsent(
                    f"The topic {self._topic} does not exist at "
                    f"{self._settings.kafka.bootstrap_servers}.",
                    "Check its name, and that these are the right brokers."
                    if self._topic == self._settings.topics.source
                    else "Create it with `pos-consumer topics create`.",
                )
            raise broker_error(described.error, f"describing topic {self._topic}")
        return sorted(described.partitions)

    def bounds(self, partition: int) -> tuple[int, int]:
        """Give the first offset there is and the one after the last to be read."""
        where = TopicPartition(self._topic, partition)
        try:
            low, high = self._consumer.get_watermark_offsets(
                where, timeout=CALL_SECONDS
            )
        except KafkaException as error:
            raise broker_error(error, f"finding the end of {self._topic}") from error
        return low, high

    def offset_at(self, partition: int, milliseconds: int) -> int | None:
        """Give the offset of the first record of a time or later; None: there is none.

        By the records' own timestamps, which are in order in a topic of ours only.
        """
        asked = TopicPartition(self._topic, partition, milliseconds)
        try:
            (found,) = self._consumer.offsets_for_times([asked], timeout=CALL_SECONDS)
        except KafkaException as error:
            raise broker_error(error, f"finding a time in {self._topic}") from error
        return found.offset if found.offset >= 0 else None

    def read(
        self,
        partition: int,
        start: int | None = None,
        end: int | None = None,
        *,
        keys: Collection[bytes] | None = None,
    ) -> Iterator[Records]:
        """Read one partition from `start` up to, and without, `end` or its end.

        With `keys`, only the records that have one of them. Raises `BrokerUnreachable`
        where nothing comes for half a minute.
        """
        low, high = self.bounds(partition)
        first = low if start is None else max(low, start)
        last = high if end is None else min(high, end)
        if first >= last:
            return
        self._consumer.assign([TopicPartition(self._topic, partition, first)])
        try:
            for at, found in self._until(last):
                self._on_progress(Reached(self._topic, partition, first, at, last))
                if keys is not None:
                    found = [one for one in found if one.key() in keys]  # noqa: PLW2901 - what is left of it
                if found:
                    yield to_records(found)
        finally:
            self._consumer.unassign()

    def last(self, partition: int, key: bytes) -> Records | None:
        """Give the newest record with a key, looking back from the end."""
        low, high = self.bounds(partition)
        end, width = high, NARROWEST
        while end > low:
            start = max(low, end - width)
            found = [*self.read(partition, start, end, keys=(key,))]
            if found:
                return found[-1].take(np.array([len(found[-1]) - 1]))
            end, width = start, width * WIDENED
        return None

    def _until(self, end: int) -> Iterator[tuple[int, list[Message]]]:
        """Give records before `end`, and the offset reached with them."""
        ended = False
        while not ended:
            found = self._consume()
            whole = [one for one in found if one.error() is None]
            last = (whole[-1].offset() or 0) if whole else end - 1
            # At the partition's end nothing else comes: the others are its events.
            ended = last >= end - 1 or len(whole) < len(found)
            if last >= end:
                whole = [one for one in whole if (one.offset() or 0) < end]
            yield min(last + 1, end), whole

    def _consume(self) -> list[Message]:
        """Wait for records; an end of the partition is among them, errors are not."""
        try:
            found = self._consumer.consume(1, QUIET_SECONDS)
            # A call that may wait does, until as many are there as it may give.
            found += self._consumer.consume(self._at_once, 0.0)
        except KafkaException as error:
            raise broker_error(error, f"reading {self._topic}") from error
        if not found:
            raise BrokerUnreachable(
                f"Nothing came from {self._topic} for {QUIET_SECONDS:g} s.",
                "Check the broker and the network.",
            )
        for one in found:
            met = one.error()
            if met is not None and met.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                raise broker_error(met, f"reading {self._topic}")
        return found

    def one(self, partition: int, offset: int) -> Records | None:
        """Give one record; None where there is none at that offset."""
        for found in self.read(partition, offset, offset + 1):
            return found
        return None

    def newest(self, count: int) -> Records:
        """Give up to `count` of the newest records of all partitions.

        Newest by timestamp; the result is in partition order, and holds the end of
        each partition without gaps.
        """
        parts = [self._tail(partition, count) for partition in self.partitions()]
        found = [one for part in parts for one in part]
        joined = Records.joined(found) if found else to_records([])
        # Of each partition an unbroken end: a record is as new as what follows it.
        age = joined.timestamps.copy()
        for number in np.unique(joined.partitions).tolist():
            rows = np.flatnonzero(joined.partitions == number)
            age[rows] = np.minimum.accumulate(age[rows][::-1])[::-1]
        rows = np.arange(len(joined))
        newest = np.lexsort((rows, age))[-count:]
        return joined.take(np.sort(newest))

    def _tail(self, partition: int, count: int) -> list[Records]:
        low, high = self.bounds(partition)
        width = count
        while True:
            start = max(low, high - width)
            found = list(self.read(partition, start, high))
            size = sum(map(len, found))
            if size >= count or start == low:
                rows = np.arange(max(0, size - count), size)
                return [Records.joined(found).take(rows)] if found else []
            width *= WIDENED
