"""Writes refused records to their topic once more, each at most once for ever.

The copies and the note in the control topic that says which records they are copies of
are one Kafka transaction, so a record that is noted has been written, and one that is
not has not. Who begins to replay fences whoever was replaying; what that one had not
committed was not written.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, Producer

from consumer.errors import TransactionFailed
from consumer.kafka.clients import broker_error, client_options, option_refused
from consumer.kafka.control_records import Replayed, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError, Message

    from consumer.config import Settings

CALL_SECONDS: Final = 30.0
DOING: Final = "replaying dead letters"


@dataclass(frozen=True, slots=True)
class Copy:
    """A refused record as it is to be written again; `origin` is its offset."""

    partition: int
    origin: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


class Replayer:
    """One replay. All calls block; `close` it when done."""

    def __init__(self, settings: Settings) -> None:
        """Fence other replays of the application. Raises what `broker_error` makes."""
        self._control = settings.topics.control
        options = settings.kafka.for_producer() | {
            "transactional.id": f"{settings.application}-replay",
            "transaction.timeout.ms": "60000",
            "message.max.bytes": "100000000",  # the topic's own limit is checked before
        }
        try:
            self._producer = Producer(client_options(settings, "replay", options))
        except KafkaException as error:
            raise option_refused(error) from error
        try:
            self._producer.init_transactions(CALL_SECONDS)
        except KafkaException as error:
            raise broker_error(error, DOING) from error

    def write(
        self, topic: str, topic_id: str, copies: Sequence[Copy], at: float
    ) -> None:
        """Write copies and what they are copies of, all or nothing.

        `at` is now, in seconds since the epoch. Raises what `broker_error` makes.
        """
        try:
            self._producer.begin_transaction()
            reached = self._produced(topic, copies)
            for note in _notes(topic_id, copies, reached, at):
                self._producer.produce(self._control, encode(note), note.key, 0)
            self._producer.commit_transaction(CALL_SECONDS)
        except BaseException as error:
            # Left open, it would keep every reader of the topic waiting.
            with suppress(KafkaException):
                self._producer.abort_transaction(CALL_SECONDS)
            if isinstance(error, SystemError):
                # A fatal error that came up within a delivery callback.
                error = error.__cause__ or error
            if isinstance(error, KafkaException):
                raise broker_error(error, DOING) from error
            raise

    def close(self) -> None:
        """Let go of the broker; what was not committed is rolled back."""
        with suppress(KafkaException), warnings.catch_warnings():
            # A fenced one says once more that it is; it is closed all the same.
            warnings.simplefilter("ignore", RuntimeWarning)
            self._producer.close()

    def _produced(self, topic: str, copies: Sequence[Copy]) -> list[int]:
        """Produce the copies; gives the offset of each."""
        reached = [-1] * len(copies)
        failed: list[KafkaError] = []

        def delivered(place: int, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                reached[place] = message.offset() or 0

        for place, one in enumerate(copies):
            self._producer.produce(
                topic,
                one.value,
                one.key,
                one.partition,
                on_delivery=partial(delivered, place),
                timestamp=one.timestamp,
                headers=[*one.headers],
            )
        left = self._producer.flush(CALL_SECONDS)
        if failed:
            raise broker_error(failed[0], DOING)
        if left or -1 in reached:
            raise TransactionFailed("The copies were not written in time.")
        return reached


def _notes(
    topic_id: str, copies: Sequence[Copy], reached: Sequence[int], at: float
) -> list[Replayed]:
    notes = []
    for number in sorted({one.partition for one in copies}):
        pairs = [
            (one.origin, offset)
            for one, offset in zip(copies, reached, strict=True)
            if one.partition == number
        ]
        origins, offsets = zip(*pairs, strict=True)
        notes.append(
            Replayed(topic_id, number, min(offsets), at, [*origins], [*offsets])
        )
    return notes
