"""Reads given offset ranges of `profiles` again, outside the consumer group.

For rows whose bytes are no longer kept: those of a batch taken up from an earlier
owner, and those that must be sent again.
"""

from __future__ import annotations

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
_BATCH: Final = 10_000
_NEAR: Final = 50_000
"""Offsets to the next range that are read through rather than sought past."""


@dataclass(frozen=True, slots=True)
class RangeBatch:
    """Records within the ranges, in order and without tombstones."""

    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: Sequence[bytes]


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
        options = self._settings.kafka.for_consumer() | {
            "group.id": f"{self._settings.upload_group}-ranges",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(client_options(self._settings, "upload", options))
        try:
            for first, last, parts in _joined(ranges):
                yield from self._read(consumer, partition, first, last, parts)
        except KafkaException as error:
            raise broker_error(error, "reading profiles again") from error
        finally:
            consumer.close()

    def _read(
        self,
        consumer: Consumer,
        partition: int,
        first: int,
        last: int,
        parts: Sequence[tuple[int, int]],
    ) -> Iterator[RangeBatch]:
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
                    if record.value() is not None:
                        records.append(record)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                    ended = True
                elif not error.retriable():
                    raise broker_error(error, "reading profiles again")
            offsets = np.array([record.offset() for record in records], np.int64)
            inside = np.flatnonzero(_within(offsets, parts)).tolist()
            if inside:
                yield RangeBatch(
                    offsets=offsets[inside],
                    timestamps=np.array(
                        [records[i].timestamp()[1] for i in inside], np.int64
                    ),
                    values=[records[i].value() or b"" for i in inside],
                )
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
