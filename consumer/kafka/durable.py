"""Writes records outside of transactions, and returns once the brokers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from consumer.errors import BrokerUnreachable
from consumer.kafka.clients import broker_error, client_options, option_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

    from consumer.config import Settings

    _Report = Callable[[KafkaError | None, Message], None]

WRITE_SECONDS: Final = 30.0

Place = tuple[int, str, bytes | None]
"""A record: partition, key, and value (None removes the key)."""


class DurableWriter:
    """Writes to one topic; blocks, threads may share it. `close` it when done.

    `role` ends the client.id; `doing` says in errors what was being done.
    """

    def __init__(self, settings: Settings, topic: str, role: str, doing: str) -> None:
        """Make the producer; ConfigurationError if an option is refused."""
        self._topic = topic
        self._doing = doing
        options = settings.kafka.for_producer() | {
            "enable.idempotence": "true",
            "acks": "all",
            "linger.ms": "0",
            "delivery.timeout.ms": str(int(WRITE_SECONDS * 1_000)),
        }
        try:
            self._producer = Producer(client_options(settings, role, options))
        except KafkaException as error:
            raise option_refused(error) from error

    def write(self, records: Iterable[Place]) -> None:
        """Write records durably, in their order; every replica has them then.

        BrokerUnreachable or BrokerRefused if not: they may or may not be there.
        """
        missing = 0
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, _record: Message) -> None:
            nonlocal missing
            missing -= 1
            if error is not None:
                errors.append(error)

        try:
            for partition, key, value in records:
                missing += 1
                while not self._queued(partition, key, value, delivered):
                    self._producer.poll(0.1)
            self._producer.flush(WRITE_SECONDS)
        except KafkaException as error:
            raise broker_error(error, self._doing) from error
        if errors:
            raise broker_error(errors[0], self._doing)
        if missing:
            message = f"{self._doing.capitalize()} took too long."
            raise BrokerUnreachable(message, "It is tried again.")

    def _queued(
        self, partition: int, key: str, value: bytes | None, delivered: _Report
    ) -> bool:
        """Hand a record to librdkafka; False while its queue is full."""
        try:
            self._producer.produce(
                self._topic,
                key=key.encode(),
                value=value,
                partition=partition,
                on_delivery=delivered,
            )
        except BufferError:
            return False
        return True

    def close(self) -> None:
        """Let go of the broker; everything written was durable before."""
        self._producer.flush(1.0)
