"""What the demo asks Kafka: how far the uploads are, which dead letters there are."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from consumer.errors import SandboxError

_SECONDS: Final = 30.0
_REASON: Final = "pos-consumer-reason"


class Topics:
    """Reads as a bystander; joins no group. A context manager."""

    def __init__(self, bootstrap: str, application: str) -> None:
        """Look at the topics and groups of `application`."""
        self._application = application
        self._bystander = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{application}-upload",  # to see its commits, never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )

    def __enter__(self) -> Self:
        """Give the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._bystander.close()

    def uploaded(self) -> bool:
        """Tell whether every profile in the topic is committed as taken by Target.

        The end of a partition lies one behind its last record: the transaction's
        marker.
        """
        places = self._places(f"{self._application}.profiles")
        committed = self._bystander.committed(places, timeout=_SECONDS)
        for place in committed:
            _, high = self._bystander.get_watermark_offsets(place, timeout=_SECONDS)
            if high - max(0, place.offset) > 1:
                return False
        return True

    def dead_letters(self) -> Counter[str]:
        """Count the dead letters by reason."""
        found: Counter[str] = Counter()
        for place in self._places(f"{self._application}.dead-letters"):
            _, high = self._bystander.get_watermark_offsets(place, timeout=_SECONDS)
            if high == 0:
                continue
            self._bystander.assign([TopicPartition(place.topic, place.partition, 0)])
            deadline = time.monotonic() + _SECONDS
            while self._position(place) < high:
                for one in self._bystander.consume(10_000, 0.2):
                    reason = dict(one.headers() or []).get(_REASON)
                    text = reason.decode() if isinstance(reason, bytes) else "unknown"
                    found[text] += 1
                if time.monotonic() > deadline:
                    raise SandboxError("The dead letters cannot be read to their end.")
            self._bystander.unassign()
        return found

    def _position(self, place: TopicPartition) -> int:
        (reached,) = self._bystander.position(
            [TopicPartition(place.topic, place.partition)]
        )
        return reached.offset

    def _places(self, topic: str) -> list[TopicPartition]:
        try:
            known = self._bystander.list_topics(topic, timeout=_SECONDS)
        except KafkaException as error:
            raise SandboxError(f"{topic} cannot be described: {error}.") from error
        return [
            TopicPartition(topic, p) for p in sorted(known.topics[topic].partitions)
        ]
