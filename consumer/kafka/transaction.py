"""The transactional producer: one transaction at a time, recycled when unclean.

librdkafka speaks the transaction protocol from before KIP-890, in which a delayed end
of one transaction can settle a later one. So whatever does not end cleanly ends this
producer: the caller closes it and makes a new one with the same `transactional.id`,
whose `init_transactions` fences the old.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from confluent_kafka import KafkaException, Producer, TopicPartition

from consumer.errors import BrokerRefused, PosConsumerError, TransactionFailed
from consumer.failpoints import failpoint
from consumer.kafka.clients import broker_error, client_options, lacks_rights
from consumer.kafka.statistics import statistics_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

    from consumer.config import Settings
    from consumer.kafka.statistics import ClientStatistics

Headers: TypeAlias = "list[tuple[str, str | bytes | None]]"

TRANSACTION_TIMEOUT_MS: Final = 10_000
INIT_SECONDS: Final = 30.0
CALL_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 2.0
QUEUE_FULL_SECONDS: Final = 1.0
# What Kafka's own clients do with a key, so that any of them finds its partition.
PARTITIONER: Final = "murmur2_random"

THROUGHPUT: Final = {
    # 5 and 500 were measured: neither CPU time nor rate differ, for a commit sends at
    # once what waits.
    "linger.ms": "20",
    "queue.buffering.max.messages": "2000000",
    "compression.type": "lz4",
    # The topics' own limits are checked before anything is produced.
    "message.max.bytes": "100000000",
}


class TransactionalProducer:
    """Writes a batch's output and offsets in one transaction. All calls block."""

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        on_statistics: Callable[[ClientStatistics], None] | None = None,
        *,
        stage: str = "aggregate",
    ) -> None:
        """Fence whoever used this id before. Raises what `broker_error` makes."""
        options = {
            **statistics_options(on_statistics),
            **THROUGHPUT,
            "queue.buffering.max.kbytes": str(
                settings.aggregate.shares.produced // 1024
            ),
            **settings.kafka.for_producer(),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
            "partitioner": PARTITIONER,
        }
        self._reached: dict[tuple[str, int], int] = {}
        self._failure: KafkaError | None = None
        self._left_behind = False
        self._producer = Producer(client_options(settings, stage, options))
        try:
            self._producer.init_transactions(INIT_SECONDS)
        except KafkaException as error:
            self.close()
            raise _unclean(error, "starting transactions") from error

    def begin(self) -> None:
        """Open a transaction."""
        self._reached.clear()
        self._failure = None
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise _unclean(error, "opening a transaction") from error

    def produce(
        self,
        topic: str,
        partition: int,
        records: Collection[tuple[bytes | None, bytes | None]],
        *,
        first: Headers | None = None,
    ) -> None:
        """Queue key-value pairs for one partition, in order.

        The first has the headers `first`, the others none. Only the last has a
        delivery callback: it tells the position reached, and what fails before it fails
        the transaction.
        """
        if not records:
            return
        produce, left, others = self._producer.produce, iter(records), len(records) - 1
        if first is not None and others:
            self._wait_for_room(topic, partition, next(left), first)
            first, others = None, others - 1
        for key, value in islice(left, others):
            try:
                # A keyword, None too, would make the call take twice as long.
                produce(topic, value, key, partition)
            except BufferError:
                self._wait_for_room(topic, partition, (key, value), None)
            except KafkaException as error:
                raise _unclean(error, f"producing to {topic}") from error
        self._wait_for_room(topic, partition, next(left), first, self._delivered)

    def produce_headed(
        self,
        topic: str,
        partition: int,
        records: Sequence[tuple[bytes | None, bytes | None, Headers]],
    ) -> None:
        """Queue records for one partition, in order, each with headers of its own."""
        *others, last = records
        for key, value, headers in others:
            self._wait_for_room(topic, partition, (key, value), headers)
        key, value, headers = last
        self._wait_for_room(topic, partition, (key, value), headers, self._delivered)

    def forward(
        self, topic: str, key: bytes, value: bytes, headers: Headers, timestamp: int
    ) -> None:
        """Queue one record for the partition of its key; `timestamp` in milliseconds.

        What fails in its delivery fails the transaction.
        """
        while True:
            try:
                self._producer.produce(
                    topic, value, key, headers=headers, timestamp=timestamp
                )
            except BufferError:
                self._producer.poll(QUEUE_FULL_SECONDS)
            except KafkaException as error:
                raise _unclean(error, f"producing to {topic}") from error
            else:
                return

    def _wait_for_room(
        self,
        topic: str,
        partition: int,
        record: tuple[bytes | None, bytes | None],
        headers: Headers | None,
        on_delivery: Callable[..., None] | None = None,
    ) -> None:
        """Queue one record, as soon as the queue has room for it."""
        key, value = record
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery, headers=headers
                )
            except BufferError:
                self._producer.poll(QUEUE_FULL_SECONDS)
            except KafkaException as error:
                raise _unclean(error, f"producing to {topic}") from error
            else:
                return

    def commit(
        self,
        topic: str,
        next_offsets: Mapping[int, int],
        group_metadata: Any,  # noqa: ANN401 - opaque
    ) -> dict[tuple[str, int], int]:
        """Send the input's offsets and commit.

        Returns the next offset of each partition written, by (topic, partition).
        Whatever goes wrong raises, and the outcome of the transaction is unknown.
        """
        offsets = [
            TopicPartition(topic, partition, offset)
            for partition, offset in next_offsets.items()
        ]
        try:
            self._send_offsets(offsets, group_metadata)
            failpoint("after-send-offsets")
            self._producer.commit_transaction(CALL_SECONDS)
        except KafkaException as error:
            raise _unclean(error, "committing a transaction") from error
        self._producer.poll(0)
        if self._failure is not None:
            raise _unclean(self._failure, "delivering a transaction")
        return dict(self._reached)

    def _send_offsets(self, offsets: list[TopicPartition], group_metadata: Any) -> None:  # noqa: ANN401 - opaque
        """Send offsets on a thread that can be left behind.

        librdkafka's call does not keep its time limit and may never return, when a
        connection breaks at the wrong moment
        (https://github.com/confluentinc/librdkafka/issues/5456 and 5511). Left behind,
        the client stays as it is, for it must not be closed within a call; the next
        one with our id fences it.
        """
        sent: Future[None] = Future()

        def send() -> None:
            try:
                self._producer.send_offsets_to_transaction(
                    offsets, group_metadata, CALL_SECONDS
                )
            except BaseException as error:  # noqa: BLE001 - raised by the caller
                sent.set_exception(error)
            else:
                sent.set_result(None)

        threading.Thread(target=send, name="send-offsets", daemon=True).start()
        finished, _ = wait([sent], CALL_SECONDS + GRACE_SECONDS)
        if not finished:
            self._left_behind = True
            raise TransactionFailed(
                "Sending offsets to the transaction did not return in time.",
                "It is done again by another producer.",
            )
        sent.result()

    def abort(self) -> None:
        """Roll back. Raises `TransactionFailed` or `Fenced` where that is unclean."""
        try:
            self._producer.abort_transaction(CALL_SECONDS)
        except KafkaException as error:
            raise _unclean(error, "rolling a transaction back") from error

    def close(self) -> None:
        """Close without waiting for anything that was not committed."""
        if self._left_behind:
            return
        self._producer.purge()
        # A fenced one says once more that it is; it is closed all the same.
        with suppress(KafkaException):
            self._producer.close()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = error
            return
        topic, partition, offset = (
            message.topic(),
            message.partition(),
            message.offset(),
        )
        if topic is None or partition is None or offset is None:
            raise TransactionFailed("A delivery report names no place.")
        self._reached[topic, partition] = offset + 1


def _unclean(error: KafkaError | KafkaException, doing: str) -> PosConsumerError:
    """Translate what ended a transaction.

    But for missing rights, which nothing here can mend, a new producer and a replay
    are the way out of every state that librdkafka may be left in.
    """
    ours = broker_error(error, doing)
    if isinstance(ours, BrokerRefused) and not lacks_rights(error):
        return TransactionFailed(ours.what, "It is rolled back and done again.")
    return ours
