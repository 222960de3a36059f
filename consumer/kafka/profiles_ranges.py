"""Reads given offset ranges of `profiles` again, outside the consumer group.

For rows whose bytes are no longer kept: those of a batch taken up from an earlier
owner, those that must be sent again, and those that are sent anew on request.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import BrokerUnreachable
from consumer.kafka.clients import broker_error, client_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from confluent_kafka import Message
    from numpy.typing import NDArray

    from consumer.config import Settings

SILENCE_SECONDS: Final = 30.0
TOMBSTONE: Final = -1
_BATCH: Final = 10_000
_NEAR: Final = 50_000
"""Offsets to the next range that are read through rather than sought past."""


@dataclass(frozen=True, slots=True)
class RangeBatch:
    """Records within the ranges, in order and without tombstones."""

    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """Records in order, tombstones included, without their values.

    `sizes` (int32) are the values' bytes, `TOMBSTONE` where there is none.
    """

    keys: Sequence[bytes]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    sizes: NDArray[np.int32]


class ProfilesRanges:
    """Reads ranges with a consumer of its own each time; blocks."""

    def __init__(self, settings: Settings) -> None:
        """Read the `profiles` topic of these settings."""
        self._settings = settings
        self._topic = settings.topics.profiles

    def read(
        self, partition: int, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[RangeBatch]:
        """Yield what is left of the ranges (first and last offset, both included).

        Compaction may have removed records; each visitor's newest one stays.
        """
        with self._consuming() as consumer:
            for first, last, parts in _joined(ranges):
                for records in self._records(consumer, partition, first, last):
                    offsets, timestamps = _places(records)
                    held = [record.value() is not None for record in records]
                    chosen = _within(offsets, parts) & np.array(held, np.bool_)
                    inside = np.flatnonzero(chosen)
                    if len(inside):
                        yield RangeBatch(
                            offsets=offsets[inside],
                            timestamps=timestamps[inside],
                            values=[records[i].value() or b"" for i in inside.tolist()],
                        )

    def keys(self, partition: int, end: int) -> Iterator[KeyBatch]:
        """Yield the keys of all records before an offset, tombstones included."""
        with self._consuming() as consumer:
            if end <= 0:
                return
            for records in self._records(consumer, partition, 0, end - 1):
                offsets, timestamps = _places(records)
                before = int(np.searchsorted(offsets, end))
                if before:
                    values = [record.value() for record in records[:before]]
                    sizes = [TOMBSTONE if v is None else len(v) for v in values]
                    yield KeyBatch(
                        keys=[record.key() or b"" for record in records[:before]],
                        offsets=offsets[:before],
                        timestamps=timestamps[:before],
                        sizes=np.array(sizes, np.int32),
                    )

    @contextmanager
    def _consuming(self) -> Iterator[Consumer]:
        options = self._settings.kafka.for_consumer() | {
            "group.id": f"{self._settings.upload_group}-ranges",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(client_options(self._settings, "upload", options))
        try:
            yield consumer
        except KafkaException as error:
            raise broker_error(error, "reading profiles again") from error
        finally:
            consumer.close()

    def _records(
        self, consumer: Consumer, partition: int, first: int, last: int
    ) -> Iterator[list[Message]]:
        """Yield records from an offset until one lies at `last` or beyond."""
        consumer.assign([TopicPartition(self._topic, partition, first)])
        silent = 0.0
        while silent < SILENCE_SECONDS:
            found = available(consumer, _BATCH, 1.0)
            silent = 0.0 if found else silent + 1.0
            records = []
            ended = False
            for record in found:
                error = record.error()
                if error is None:
                    ended = ended or cast("int", record.offset()) >= last
                    records.append(record)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                    ended = True
                elif not error.retriable():
                    raise broker_error(error, "reading profiles again")
            yield records
            if ended:
                return
        raise BrokerUnreachable(
            f"Offsets of {self._topic}, partition {partition}, could not be read again."
        )


def available(consumer: Consumer, most: int, timeout: float) -> list[Message]:
    """Wait for a first record, then take what else is there without waiting.

    `consume` alone would wait for the whole timeout unless it finds `most` records.
    """
    first = consumer.poll(timeout)
    return [] if first is None else [first, *consumer.consume(most - 1, 0.0)]


def _places(
    records: Sequence[Message],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the records' offsets and timestamps."""
    offsets = np.array([record.offset() for record in records], np.int64)
    times = np.array([record.timestamp()[1] for record in records], np.int64)
    return offsets, times


def _within(
    offsets: NDArray[np.int64], ranges: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    firsts = np.array([first for first, _ in ranges], np.int64)
    lasts = np.array([last for _, last in ranges], np.int64)
    place = np.searchsorted(firsts, offsets, side="right") - 1
    inside: NDArray[np.bool_] = (place >= 0) & (offsets <= lasts[np.maximum(place, 0)])
    return inside


def _joined(
    ranges: Sequence[tuple[int, int]],
) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield stretches to read in one go, each with the ranges within it."""
    parts: list[tuple[int, int]] = []
    for part in sorted(ranges):
        if parts and part[0] - parts[-1][1] > _NEAR:
            yield parts[0][0], parts[-1][1], parts
            parts = []
        parts.append(part)
    if parts:
        yield parts[0][0], parts[-1][1], parts
