"""The consumer of purchases: batches in columns, and partitions that come and go.

Leaves: `Records`, and the partitions assigned, revoked and lost since the last call.
An assigned partition does not flow until the caller, who restores its state first, says
where it starts. A consume call is never cancelled, and offsets to commit come from
processed records only.

librdkafka is never given an offset to look up, such as the end: an answer that comes
after a seek makes it look the offset up again and read on from there, past everything
between (https://github.com/confluentinc/librdkafka/issues/2256).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from consumer.errors import BrokerRefused
from consumer.frames import Records
from consumer.kafka.clients import (
    broker_error,
    client_options,
    kafka_error,
    lost_by_silence,
    passing,
    still_counted_in,
)
from consumer.kafka.membership import Membership
from consumer.kafka.messages import to_records
from consumer.kafka.statistics import statistics_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from consumer.config import Settings
    from consumer.kafka.statistics import ClientStatistics

log = structlog.get_logger(__name__)

# Measured: twice the wall rate of the default, with as many records ahead as fit.
THROUGHPUT: Final = {"fetch.queue.backoff.ms": "5"}
OURS: Final = {
    "enable.auto.commit": "false",
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    # Behind the last record there may be markers of transactions: see `ends`.
    "enable.partition.eof": "true",
}
COMMITTED_SECONDS: Final = 10.0
SEEK_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 2.0
JOIN_AGAIN_SECONDS: Final = 1.0
AT_ONCE: Final = 2_000
"""So many messages stay in the processor's cache until they are columns, and their
memory is that of the next ones: half the time of a whole batch of them."""
JOIN_SECONDS: Final = 60.0
"""After so long a member without partitions is one for which there are none; by KIP-848
nobody tells it. Longer than a session: a process that was killed has its partitions
until that ends."""


@dataclass(slots=True)
class Rebalance:
    """What changed hands since the last call, in partition numbers."""

    assigned: list[int] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What one consume call gave: records, and partitions whose offset is gone."""

    records: Records | None
    out_of_range: dict[int, str] = field(default_factory=dict)


class InputConsumer:
    """Reads one topic as a member of a consumer group. All calls are blocking."""

    def __init__(
        self,
        settings: Settings,
        on_statistics: Callable[[ClientStatistics], None] | None = None,
        *,
        stage: Literal["aggregate", "rekey"] = "aggregate",
    ) -> None:
        """Join the group of `stage` at the first `consume`."""
        topics = settings.topics
        topic, group = {
            "aggregate": (topics.purchases, settings.aggregate_group),
            "rekey": (topics.source, settings.rekey_group),
        }[stage]
        options = {
            **statistics_options(on_statistics),
            **read_ahead(settings),
            **settings.kafka.for_consumer(),
            **OURS,
            "group.id": group,
        }
        self._membership = Membership(options)
        self._topic = topic
        self._rebalance = Rebalance()
        # The partitions that were started, and where each goes on. Plain assignments
        # repeat the offsets of all; only for them they are kept up to date.
        self._started: dict[int, int] = {}
        # Where a partition was last read to its end, and the offset after the last
        # record that came with that (0: none did).
        self._read_out: dict[int, tuple[int, int]] = {}
        self._paused: set[int] = set()
        self._options = client_options(settings, stage, self._membership.options)
        self._joins_by = time.monotonic() + JOIN_SECONDS
        self._consumer = self._member()

    @property
    def joined(self) -> bool:
        """Whether the group has told what this member gets, be it nothing."""
        return time.monotonic() >= self._joins_by

    def consume(self, most: int, timeout: float) -> Batch:
        """Wait up to `timeout` seconds for up to `most` records.

        Returns as soon as `most` are there; what lies ready is taken. Rebalances happen
        in here; see `rebalance` for their result. Raises what `broker_error` makes of
        an error, and `BrokerRefused` where this consumer can never read again.
        """
        ends_by = time.monotonic() + timeout
        parts: list[Records] = []
        read_out: dict[int, int] = {}
        out_of_range: dict[int, str] = {}
        taken = 0
        while True:
            asked = min(AT_ONCE, most - taken)
            found = self._polled(asked, max(0.0, ends_by - time.monotonic()))
            taken += len(found)
            full = len(found) == asked
            if any(map(Message.error, found)):
                if any(still_counted_in(one.error()) for one in found):
                    self._join_again()
                    return Batch(None)
                found = self._without_errors(found, read_out, out_of_range)
            if found:
                parts.append(to_records(found))
            # Before the next ones are made: these are still in the processor's cache.
            del found
            if taken >= most or not (full or time.monotonic() < ends_by):
                break
        records = Records.joined(parts) if parts else None
        # What an earlier piece says of a partition that has left since is not ours.
        out_of_range = {n: w for n, w in out_of_range.items() if n in self._started}
        for number in read_out.keys() & self._started.keys():
            self._read_out[number] = read_out[number], _after_last(records, number)
        if records is not None and not self._membership.incremental:
            self._note(records)
        return Batch(records, out_of_range)

    def rebalance(self) -> Rebalance:
        """Give what changed hands since the last call."""
        changed, self._rebalance = self._rebalance, Rebalance()
        return changed

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Fetch stable committed offsets; a partition that has none is left out.

        Pending transactional offsets are waited for. Raises `BrokerUnreachable` when
        they do not settle in time: try again, it never means 'no offset'.
        """
        asked = [TopicPartition(self._topic, number) for number in partitions]
        try:
            found = self._consumer.committed(asked, timeout=COMMITTED_SECONDS)
        except KafkaException as error:
            raise passing(error, "fetching committed offsets") from error
        for one in found:
            if one.error is not None:
                raise passing(one.error, "fetching committed offsets")
        return {one.partition: one.offset for one in found if one.offset >= 0}

    def offset_for(self, start: str | datetime, partition: int) -> int:
        """Find where to start without state: earliest, latest or a time.

        A time stands for the first record at it or later.
        """
        where = TopicPartition(self._topic, partition)
        try:
            low, high = self._consumer.get_watermark_offsets(
                where, timeout=COMMITTED_SECONDS
            )
            if start == "earliest":
                return low
            if isinstance(start, str):
                return high
            where.offset = int(start.timestamp() * 1000)
            (found,) = self._consumer.offsets_for_times(
                [where], timeout=COMMITTED_SECONDS
            )
        except KafkaException as error:
            raise passing(error, "finding the start of a partition") from error
        return found.offset if found.offset >= 0 else high

    def start(self, offsets: Mapping[int, int]) -> None:
        """Let assigned partitions flow from the given offsets.

        Raises what `broker_error` makes of an error.
        """
        fresh = {n: at for n, at in offsets.items() if n not in self._started}
        for partition in offsets.keys() - fresh.keys():
            self._seek(partition, offsets[partition])
            self._started[partition] = offsets[partition]
        if fresh:
            try:
                self._membership.take(
                    self._consumer, self._places(fresh), self._places(self._started)
                )
            except KafkaException as error:
                raise passing(error, "starting to read purchases") from error
            self._started.update(fresh)
        self.resume(offsets)
        if fresh and not self._membership.incremental:
            self.pause(self._paused)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop the flow of partitions; what was prefetched is dropped."""
        flowing = [number for number in partitions if number in self._started]
        self._consumer.pause([TopicPartition(self._topic, n) for n in flowing])
        self._paused.update(flowing)

    def resume(self, partitions: Iterable[int]) -> None:
        """Let paused partitions flow on."""
        listed = list(partitions)
        self._consumer.resume([TopicPartition(self._topic, p) for p in listed])
        self._paused.difference_update(listed)

    def group_metadata(self) -> Any:  # noqa: ANN401 - opaque to us, made by the client
        """Give the membership that fences a transaction; fetch it fresh each time."""
        return self._consumer.consumer_group_metadata()

    def partitions(self) -> int:
        """Count the topic's partitions; raises what `broker_error` makes."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=COUNT_SECONDS)
        except KafkaException as error:
            raise passing(error, "counting the partitions of purchases") from error
        return len(found.topics[self._topic].partitions)

    def ends(self) -> dict[int, int]:
        """Give the last known end of each partition that was started, for the lag.

        That is the offset after the last record, or none before it (0), where the
        partition was read to its end: what lies behind are aborted records and markers
        of transactions, which nobody will ever be given.
        """
        found = {}
        for one in self._places(self._started):
            _, high = self._consumer.get_watermark_offsets(one, cached=True)
            at, last = self._read_out.get(one.partition, (None, 0))
            if high >= 0:
                found[one.partition] = last if at == high else high
        return found

    def close(self) -> None:
        """Leave the group; revocation callbacks run in here."""
        self._consumer.close()

    def _polled(self, most: int, timeout: float) -> list[Message]:
        try:
            return self._consumer.consume(most, timeout)
        except KafkaException as error:
            if kafka_error(error).fatal():
                raise _fatal(kafka_error(error)) from error
            raise broker_error(error, "consuming purchases") from error

    def _without_errors(
        self,
        found: list[Message],
        read_out: dict[int, int],
        out_of_range: dict[int, str],
    ) -> list[Message]:
        """Keep the records; note what the others say of partitions."""
        for one in found:
            if (error := one.error()) is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                read_out[one.partition() or 0] = one.offset() or 0
            else:
                self._met(one, error, out_of_range)
        return [one for one in found if one.error() is None]

    def _member(self) -> Consumer:
        consumer = Consumer(self._options)
        consumer.subscribe(
            [self._topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )
        return consumer

    def _join_again(self) -> None:
        """Try to be a member with a new client: this one is of no use any more."""
        log.warning(
            "the group still counts in who had our group.instance.id before: "
            "joining again until it lets go"
        )
        self._consumer.close()
        time.sleep(JOIN_AGAIN_SECONDS)
        self._consumer = self._member()

    def _note(self, records: Records) -> None:
        """Keep where each partition goes on that is still ours."""
        reached = dict(
            zip(records.partitions.tolist(), records.offsets.tolist(), strict=True)
        )
        for number in reached.keys() & self._started.keys():
            self._started[number] = reached[number] + 1

    def _met(
        self, message: Message, error: KafkaError, out_of_range: dict[int, str]
    ) -> None:
        gone = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - librdkafka's names
        if error.code() in gone:
            out_of_range[message.partition() or 0] = error.str()
        elif error.fatal():
            raise _fatal(error)
        elif not (error.retriable() or lost_by_silence(error)):
            raise broker_error(error, "consuming purchases")

    def _seek(self, partition: int, offset: int) -> None:
        """Seek; right after an assignment librdkafka may not be ready for it yet."""
        deadline = time.monotonic() + SEEK_SECONDS
        while True:
            try:
                self._consumer.seek(TopicPartition(self._topic, partition, offset))
            except KafkaException as error:
                early = kafka_error(error).code() == KafkaError._STATE  # noqa: SLF001 - librdkafka's name
                if not early or time.monotonic() > deadline:
                    raise passing(error, "seeking in purchases") from error
                time.sleep(0.02)
            else:
                return

    def _places(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, n, at) for n, at in offsets.items()]

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._joins_by = float("-inf")
        self._membership.take(consumer, [], self._places(self._started))
        self._rebalance.assigned += [p.partition for p in partitions]

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalance.revoked += [p.partition for p in partitions]
        self._leave(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalance.lost += [p.partition for p in partitions]
        self._leave(consumer, partitions)

    def _leave(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        leaving = {p.partition for p in partitions}
        # What came and went within one call is not ours.
        came = self._rebalance.assigned
        self._rebalance.assigned = [n for n in came if n not in leaving]
        started = {n: at for n, at in self._started.items() if n in leaving}
        self._paused -= leaving
        for number in leaving:
            self._read_out.pop(number, None)
        for number in started:
            del self._started[number]
        self._membership.give_up(consumer, self._places(started))


def _after_last(records: Records | None, number: int) -> int:
    """Give the offset after a partition's last record in a batch, 0 without one."""
    if records is None:
        return 0
    return int(records.offsets[records.partitions == number].max(initial=-1)) + 1


def read_ahead(settings: Settings) -> dict[str, str]:
    """Give the options that bound what the client reads ahead."""
    shares = settings.aggregate.shares
    return {
        **THROUGHPUT,
        "queued.min.messages": str(shares.fetched_records),
        "queued.max.messages.kbytes": str(shares.fetched // 1024),
        "fetch.max.bytes": str(shares.response),
    }


def _fatal(error: KafkaError) -> BrokerRefused:
    """Say why this member is out for good; only a new process can join again."""
    return BrokerRefused(
        f"The group has shut this member out: {error.str()} ({error.name()}).",
        "If another process has the same group.instance.id, give each its own.",
    )
