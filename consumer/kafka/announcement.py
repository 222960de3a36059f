"""The right to announce a generation: held by one process at a time.

Two replicas that start at once must not give one number to two configurations. All
announcers share one transactional id: who opens an `Announcement` fences whoever had it
before, so what the control topic holds after that stays true until `put` has returned,
or `put` fails.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaException, Producer

from consumer.errors import BrokerRefused, BrokerUnreachable, PosConsumerError
from consumer.kafka.clients import broker_error, client_options, lacks_rights
from consumer.kafka.control_records import encode

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.kafka.control_records import Generation

CALL_SECONDS: Final = 30.0
TRANSACTION_TIMEOUT_MS: Final = 10_000


class Announcement:
    """A context manager; every call blocks.

    Raises `BrokerUnreachable` where it is to be done again from its beginning, reading
    the control topic included, and `BrokerRefused` where that does not help.
    """

    def __init__(self, settings: Settings) -> None:
        """Fence every other announcer, and end what it may have left open."""
        self._topic = settings.topics.control
        options = {
            **settings.kafka.for_producer(),
            "transactional.id": f"{settings.application}-announcement",
            "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
        }
        self._producer = Producer(client_options(settings, "control", options))
        try:
            self._producer.init_transactions(CALL_SECONDS)
        except KafkaException as error:
            self._close()
            raise _again(error) from error

    def __enter__(self) -> Self:
        """Give the right."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self._close()

    def put(self, generation: Generation) -> None:
        """Write the generation; when it returns, every replica will read it."""
        try:
            self._producer.begin_transaction()
            self._producer.produce(
                self._topic, encode(generation), generation.key.encode(), 0
            )
            self._producer.commit_transaction(CALL_SECONDS)
        except KafkaException as error:
            raise _again(error) from error

    def _close(self) -> None:
        self._producer.purge()
        # A fenced one says once more that it is.
        with suppress(KafkaException):
            self._producer.close()


def _again(error: KafkaException) -> PosConsumerError:
    ours = broker_error(error, "announcing the configuration")
    if isinstance(ours, BrokerRefused) and lacks_rights(error):
        return ours
    return BrokerUnreachable(ours.what, "It is tried again.")
