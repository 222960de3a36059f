"""The pump: a thread that owns the consumer of `profiles` and hands records to asyncio.

Records cross to the loop over a bounded queue: when it is full the partitions are
paused, and flow again when half of it is gone. Commits and rebalances cross between the
two safely. A consume call is never cancelled.

What the loop is handed comes in the order of each partition: a `ProfileBatch` counts
every record up to its `next_offset`, tombstones too. At the end of a partition a batch
without records carries the offset that the end lies at, beyond aborted records and the
markers of transactions, so that a partition read to its end can be committed to its end
and shows no lag. That offset comes in the stream, after all records before it; it is
never the consumer's `position()`, which may be ahead of what was handed over.

Over 300 lines: one thread's work, and its two sides are read best side by side.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import Fenced, PosConsumerError, TopicAbsent
from consumer.kafka.clients import (
    broker_error,
    client_options,
    lost_by_silence,
    membership_over,
    option_refused,
    still_counted_in,
)
from consumer.kafka.membership import Membership
from consumer.kafka.profiles_batches import (
    Assigned,
    Change,
    Lost,
    ProfileBatch,
    Revoked,
    columns,
    event_times,
    offset_of,
)
from consumer.kafka.statistics import statistics_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from confluent_kafka import Message

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.statistics import ClientStatistics

log = structlog.get_logger(__name__)

MOST_RECORDS: Final = 10_000
"""Records of one consume call: some 2 MB of profiles, rendered in about 50 ms."""

QUEUE_BYTES: Final = 32_000_000
"""Bound of the queue: enough to keep rendering busy while the next records come."""

REVOKE_SECONDS: Final = 10.0
"""How long a revocation waits for the loop, well below `max.poll.interval.ms`."""

_POLL_SECONDS: Final = 0.1
_TABLE_SECONDS: Final = 30.0
_JOIN_AGAIN_SECONDS: Final = 1.0
_OURS: Final = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "enable.partition.eof": "true",
    "isolation.level": "read_committed",
    # The compacted topic is the outbox: without an offset everything is to be sent.
    "auto.offset.reset": "earliest",
    # Beyond this the prefetch only costs memory: our own queue feeds the rendering.
    "queued.max.messages.kbytes": "32768",
}


class ProfilesReader:
    """Reads `profiles` for the upload group; an async context manager.

    Everything but `epoch` is called on the event loop it was opened on. `committed_at`
    (monotonic) is when the last commit that succeeded was asked for.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        on_statistics: Callable[[ClientStatistics], None] | None = None,
    ) -> None:
        """Make the consumer; it joins its group when the pump is opened."""
        self._topic = settings.topics.profiles
        options = {
            **statistics_options(on_statistics),
            **settings.kafka.for_consumer(),
            **_OURS,
            "group.id": settings.upload_group,
        }
        self._membership = Membership(options)
        self._settings = settings
        self._options = client_options(settings, "upload", self._membership.options)
        try:
            self._consumer = Consumer(self._options)
        except KafkaException as error:
            raise option_refused(error) from error
        self._clock = clock
        self.session_seconds = 0.0  # until the group was asked nobody may call
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._pump, name="profiles-pump")
        self._stop = threading.Event()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._epochs: dict[int, int] = {}
        self._epoch = 0
        self._assignment: set[int] = set()
        self._begun: set[int] = set()
        self._changes: asyncio.Queue[Change | BaseException] = asyncio.Queue()
        self._batches: deque[ProfileBatch] = deque()
        self._arrived = asyncio.Event()
        self._queued = 0  # bytes, changed under the lock
        self._lock = threading.Lock()
        self._full = False
        self._ends: dict[int, int] = {}
        self._since: dict[int, int | None] = {}
        self._committed: dict[int, int] = {}
        self.partitions = 0
        self.committed_at = float("-inf")

    async def __aenter__(self) -> Self:
        """Find the topic and start the pump; TopicAbsent if there is none."""
        self._loop = asyncio.get_running_loop()
        try:
            self.partitions = await asyncio.to_thread(self._count_partitions)
            self.session_seconds = await asyncio.to_thread(
                self._membership.session_seconds, self._settings
            )
        except BaseException:
            self._consumer.close()
            raise
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the group and end the thread; nothing more is committed."""
        self._stop.set()
        await asyncio.shield(asyncio.to_thread(self._thread.join))

    async def change(self) -> Change:
        """Wait for the next change of assignment; raises what ended the pump."""
        change = await self._changes.get()
        if isinstance(change, BaseException):
            raise change
        return change

    async def batch(self) -> ProfileBatch:
        """Wait for the next batch of a partition that is still ours."""
        while True:
            while not self._batches:
                self._arrived.clear()
                await self._arrived.wait()
            batch = self._batches.popleft()
            with self._lock:
                self._queued -= batch.size
            if self.epoch(batch.partition) == batch.epoch:
                return batch

    def epoch(self, partition: int) -> int | None:
        """Return the epoch of a partition that is ours, from the very moment on.

        None: it has left, or was halted.
        """
        return self._epochs.get(partition)

    def begin(self, epochs: Mapping[int, int]) -> None:
        """Let assigned partitions flow from their committed offset.

        One that has left since, even if it is back, waits for its own `begin`.
        """
        wanted = dict(epochs)
        self._commands.put(lambda: self._begin(wanted))

    def halt(self, partition: int, epoch: int | None) -> None:
        """Stop a partition for good; it stays assigned, so that nobody skips it.

        One of another epoch goes on.
        """
        if self.epoch(partition) == epoch:
            self._epochs.pop(partition, None)
            self._commands.put(lambda: self._halt(partition))

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the next offsets to read, of partitions that are still ours.

        Fenced if the group has moved on without us, BrokerUnreachable if it is worth
        trying again.
        """
        if not self._thread.is_alive():
            raise Fenced("The reader of profiles is closed.")
        done: Future[None] = Future()
        self._commands.put(lambda: self._commit(dict(offsets), done))
        await asyncio.wrap_future(done)

    def lag(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Return records from these offsets to the last known end, by partition."""
        ends = self._ends
        return {p: max(0, ends[p] - at) for p, at in offsets.items() if p in ends}

    def _count_partitions(self) -> int:
        try:
            found = self._consumer.list_topics(self._topic, timeout=_TABLE_SECONDS)
        except KafkaException as error:
            raise broker_error(error, f"looking for {self._topic}") from error
        topic = found.topics[self._topic]
        if topic.error is not None or not topic.partitions:
            raise TopicAbsent(
                f"The topic {self._topic} does not exist.",
                "Create it with `pos-consumer topics create`.",
            )
        return len(topic.partitions)

    # Everything below runs in the pump's thread.

    def _pump(self) -> None:
        try:
            self._join()
            while not self._stop.is_set():
                self._run_commands()
                found = self._consumer.consume(MOST_RECORDS, _POLL_SECONDS)
                if any(still_counted_in(record.error()) for record in found):
                    self._join_again()
                else:
                    self._hand_over(found)
                    self._breathe()
        except KafkaException as error:
            self._tell(broker_error(error, "consuming profiles"))
        except BaseException as error:  # noqa: BLE001 - raised again by `change`
            self._tell(error)
        finally:
            self._stop.set()
            self._consumer.close()
            self._run_commands()

    def _join(self) -> None:
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def _join_again(self) -> None:
        """Try to be a member with a new client: this one is of no use any more."""
        log.warning("Joining again: who had our group.instance.id is still counted in.")
        self._consumer.close()
        self._stop.wait(_JOIN_AGAIN_SECONDS)
        self._consumer = Consumer(self._options)
        self._join()

    def _run_commands(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._commands.get_nowait()()

    def _hand_over(self, found: list[Message]) -> None:
        by_partition: dict[int, list[Message]] = {}
        ends: dict[int, int] = {}
        for record in found:
            error = record.error()
            number = cast("int", record.partition())
            if error is None:
                by_partition.setdefault(number, []).append(record)
                ends.pop(number, None)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                ends[number] = offset_of(record)
            elif not (error.retriable() or lost_by_silence(error)):
                raise broker_error(error, "consuming profiles")
        for number in by_partition.keys() | ends.keys():
            epoch = self._epochs.get(number)
            if epoch is not None:
                records = by_partition.get(number, [])
                times, since = event_times(records, self._since.get(number))
                self._since[number] = since
                self._put(columns(number, epoch, records, times, ends.get(number)))

    def _put(self, batch: ProfileBatch) -> None:
        with self._lock:
            self._queued += batch.size
        self._call(lambda: self._receive(batch))

    def _receive(self, batch: ProfileBatch) -> None:
        self._batches.append(batch)
        self._arrived.set()

    def _breathe(self) -> None:
        """Pause when the queue is full, resume when half of it is gone."""
        if not self._full and self._queued >= QUEUE_BYTES:
            self._full = True
            self._pause(self._begun)
        elif self._full and self._queued <= QUEUE_BYTES // 2:
            self._full = False
            self._resume(self._begun)
        for number in self._begun:
            place = TopicPartition(self._topic, number)
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
            if high >= 0:
                self._ends[number] = high

    def _begin(self, epochs: Mapping[int, int]) -> None:
        ours = [number for number, at in epochs.items() if self.epoch(number) == at]
        self._begun.update(ours)
        if not self._full:
            self._resume(ours)

    def _halt(self, partition: int) -> None:
        if partition in self._epochs:  # it has left and come back
            return
        self._begun.discard(partition)
        self._pause([partition])

    def _pause(self, partitions: Iterable[int]) -> None:
        held = [p for p in partitions if p in self._assignment]
        self._consumer.pause([TopicPartition(self._topic, p) for p in held])

    def _resume(self, partitions: Iterable[int]) -> None:
        held = [p for p in partitions if p in self._assignment]
        self._consumer.resume([TopicPartition(self._topic, p) for p in held])

    def _commit(self, offsets: Mapping[int, int], done: Future[None]) -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            self._commit_now(offsets)
        except PosConsumerError as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def _commit_now(self, offsets: Mapping[int, int]) -> None:
        places = [
            TopicPartition(self._topic, number, offset)
            for number, offset in offsets.items()
            if number in self._epochs
        ]
        if self._stop.is_set() and (places or self._assignment):
            raise Fenced("The reader of profiles is closed.")
        places = places or self._standing()
        if not places:
            return
        # What an answer confirms is the past: a process that was frozen in this call
        # wakes up with one that is as old as its sleep was long.
        asked_at = self._clock.monotonic()
        try:
            answers = self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._not_committed(error) from error
        for answer in answers or []:
            if answer.error is not None:
                raise self._not_committed(answer.error)
        self._committed.update({p.partition: p.offset for p in places})
        self.committed_at = asked_at

    def _not_committed(self, error: KafkaException | KafkaError) -> PosConsumerError:
        """Name what went wrong; where the membership is over, nothing confirms it."""
        if membership_over(error):
            self.committed_at = float("-inf")
        return broker_error(error, "committing offsets of profiles")

    def _standing(self) -> list[TopicPartition]:
        """Return the offsets that halted partitions have.

        Committed again they move nothing, but the answer shows that the group still
        counts us in.
        """
        unknown = [
            TopicPartition(self._topic, number)
            for number in self._assignment - self._committed.keys()
        ]
        try:
            found = self._consumer.committed(unknown, _TABLE_SECONDS) if unknown else []
            for place in found:
                low = 0
                if place.offset < 0:
                    low, _ = self._consumer.get_watermark_offsets(place, _TABLE_SECONDS)
                self._committed[place.partition] = max(place.offset, low)
        except KafkaException as error:
            raise broker_error(error, "reading offsets of profiles") from error
        return [
            TopicPartition(self._topic, number, self._committed[number])
            for number in self._assignment
        ]

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership.take(consumer, partitions)
        consumer.pause(partitions)
        for place in partitions:
            self._epoch += 1
            self._epochs[place.partition] = self._epoch
            self._assignment.add(place.partition)
        if partitions:
            epochs = {p.partition: self._epochs[p.partition] for p in partitions}
            self._tell(Assigned(epochs))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        leaving = Revoked(tuple(p.partition for p in partitions))
        if not self._stop.is_set() and partitions:
            self._tell(leaving)
            with suppress(PosConsumerError):
                # without an answer the offsets stay as they are: rows are sent again
                self._commit_now(self._answer(leaving))
        self._forget(leaving.partitions)
        self._membership.give_up(consumer, partitions)

    def _answer(self, leaving: Revoked) -> dict[int, int]:
        """Wait for the loop's answer, unless it takes too long or the end has come."""
        until = self._clock.monotonic() + REVOKE_SECONDS
        while not self._stop.is_set() and self._clock.monotonic() < until:
            with suppress(FutureTimeoutError):
                return leaving.answer.result(_POLL_SECONDS)
        return {}

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lost = Lost(tuple(p.partition for p in partitions))
        self._forget(lost.partitions)
        self._tell(lost)
        self._membership.give_up(consumer, partitions)

    def _forget(self, partitions: Iterable[int]) -> None:
        for number in partitions:
            self._epochs.pop(number, None)
            self._assignment.discard(number)
            self._begun.discard(number)
            self._ends.pop(number, None)
            self._since.pop(number, None)
            self._committed.pop(number, None)

    def _tell(self, change: Change | BaseException) -> None:
        self._call(lambda: self._changes.put_nowait(change))

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function)
