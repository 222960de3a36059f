"""The `control` topic: one partition, compacted, read whole by every replica.

Holds, under keys of their own, what all replicas must agree on. So far: each
generation of the configuration, with the schema of its profile records.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaException, Producer

from consumer.kafka.changelog import Changelog
from consumer.kafka.clients import broker_error, client_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.config import Settings

GENERATION: Final = "generation/"
WRITE_SECONDS: Final = 30.0
READ_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of the configuration: definitions by attribute, profile schema.

    `partitions` is what the input had when the application began, 0 if not known.
    """

    number: int
    schema_id: int
    schema: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 0

    def to_json(self) -> bytes:
        """Write the record's value."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(data))


class Control:
    """Reads and writes the control topic. All calls block."""

    def __init__(self, settings: Settings) -> None:
        """Take the topic's name; nothing is connected yet."""
        self._settings = settings
        self._topic = settings.topics.control

    def generations(self, keep_waiting: Callable[[], bool]) -> list[Generation]:
        """Read all generations, oldest first."""
        found: dict[bytes, bytes | None] = {}
        changelog = Changelog(self._settings)
        try:
            changelog.add({(self._topic, 0): 0})
            while not changelog.idle and keep_waiting():
                for tail in changelog.read(READ_SECONDS):
                    found.update(zip(tail.keys, tail.values, strict=True))
        finally:
            changelog.close()
        read = [
            Generation.from_json(value)
            for key, value in found.items()
            if key.startswith(GENERATION.encode()) and value is not None
        ]
        return sorted(read, key=lambda one: one.number)

    def announce(self, generation: Generation) -> None:
        """Write a generation; returns once the brokers have it."""
        options = {**self._settings.kafka.for_producer(), "acks": "all"}
        producer = Producer(client_options(self._settings, "control", options))
        failed: list[Exception] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failed.append(KafkaException(error))

        key = f"{GENERATION}{generation.number}".encode()
        try:
            producer.produce(
                self._topic, generation.to_json(), key, 0, on_delivery=delivered
            )
            if producer.flush(WRITE_SECONDS) == 0 and not failed:
                return
        except KafkaException as error:
            failed.append(error)
        finally:
            producer.close()
        problem = failed[0] if failed else TimeoutError("no answer in time")
        if isinstance(problem, KafkaException):
            raise broker_error(problem, "writing the control topic") from problem
        raise problem
