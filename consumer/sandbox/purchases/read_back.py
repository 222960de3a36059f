"""Reads a purchases topic back as raw records, partition by partition."""

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import SandboxError
from consumer.sandbox.recount import Record

_TIMEOUT: Final = 30.0  # seconds without a record
_WAIT: Final = 0.2  # seconds to fill a batch
_BATCH: Final = 10_000


def read_back(bootstrap_servers: str, topic: str) -> Iterator[Record]:
    """Yield what the topic holds now, each partition in offset order.

    Belongs to no group and commits nothing. Raises `SandboxError` where the topic
    cannot be read.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "sandbox-read-back",  # the client wants one; it is never used
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
        for partition in sorted(known):
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT)
            consumer.assign([TopicPartition(topic, partition, low)])
            if low < high:
                yield from _until(consumer, partition, high)
    except KafkaException as error:
        raise SandboxError(f"{topic} could not be read: {error}.") from error
    finally:
        consumer.close()


def _until(consumer: Consumer, partition: int, end: int) -> Iterator[Record]:
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        for record in consumer.consume(_BATCH, _WAIT):
            error, offset = record.error(), record.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its documented name
                raise KafkaException(error)
            if error is not None or offset is None or offset >= end:
                return
            yield Record(
                record.key(), record.value(), record.timestamp()[1], partition, offset
            )
            deadline = time.monotonic() + _TIMEOUT
    raise SandboxError(f"Partition {partition} gave nothing for {_TIMEOUT:.0f} s.")
