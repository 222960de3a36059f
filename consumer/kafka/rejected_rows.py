"""Rows that Target cannot take, kept by visitor with their reason.

A compacted topic, `<application>.rejected-rows`: the key is the visitor, the value JSON
with `version` (of the profile), `reason` (a word) and `sentence`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.errors import BrokerUnreachable
from consumer.kafka.clients import broker_error, client_options, option_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from consumer.config import Settings

    _Report = Callable[[KafkaError | None, Message], None]

WRITE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not sent, from this partition of `profiles`."""

    visitor: str
    partition: int
    version: int
    reason: str
    sentence: str


class RejectedRows:
    """Writes rejected rows; blocks, call it off the event loop."""

    def __init__(self, settings: Settings) -> None:
        """Make the producer; ConfigurationError if an option is refused."""
        self._topic = settings.topics.rejected_rows
        options = settings.kafka.for_producer() | {
            "enable.idempotence": "true",
            "acks": "all",
            "delivery.timeout.ms": str(int(WRITE_SECONDS * 1_000)),
        }
        try:
            self._producer = Producer(client_options(settings, "rejected", options))
        except KafkaException as error:
            raise option_refused(error) from error

    def write(self, rows: Sequence[RejectedRow]) -> None:
        """Write rows durably; BrokerUnreachable or BrokerRefused if not."""
        errors: list[KafkaError] = []

        def report(error: KafkaError | None, _record: object) -> None:
            if error is not None:
                errors.append(error)

        try:
            for row in rows:
                value = {
                    "version": row.version,
                    "reason": row.reason,
                    "sentence": row.sentence,
                }
                self._produce(row, json.dumps(value).encode(), report)
            left = self._producer.flush(WRITE_SECONDS)
        except KafkaException as error:
            raise broker_error(error, "writing rejected rows") from error
        if errors:
            raise broker_error(errors[0], "writing rejected rows")
        if left:
            raise BrokerUnreachable("The rejected rows were not written in time.")

    def close(self) -> None:
        """Let go of the broker; everything written was durable before."""
        self._producer.flush(1.0)

    def _produce(self, row: RejectedRow, value: bytes, report: _Report) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=row.visitor.encode(),
                    value=value,
                    partition=row.partition,
                    on_delivery=report,
                )
            except BufferError:  # librdkafka's queue is full: let it empty
                self._producer.poll(0.1)
            else:
                return
