"""How many members a consumer group has now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.clients import admin_client, broker_error, kafka_error

if TYPE_CHECKING:
    from consumer.config import Settings

REQUEST_SECONDS: Final = 5.0


def group_members(settings: Settings, group: str) -> int:
    """Return the number of members, 0 for a group that does not exist; blocks."""
    admin = admin_client(settings)  # its futures come to nothing once it is gone
    described = admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS)
    try:
        return len(described[group].result().members)
    except KafkaException as error:
        if kafka_error(error).code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise broker_error(error, f"describing the group {group}") from error
