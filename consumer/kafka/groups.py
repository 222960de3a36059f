"""What a consumer group is now: its members, and the offsets it has committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

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


def committed_offset(
    settings: Settings, group: str, topic: str, partition: int
) -> int | None:
    """Return what a group has committed, None if nothing; blocks."""
    admin = admin_client(settings)
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
    listed = admin.list_consumer_group_offsets([asked], request_timeout=REQUEST_SECONDS)
    try:
        (found,) = listed[group].result().topic_partitions
    except KafkaException as error:
        if kafka_error(error).code() == KafkaError.GROUP_ID_NOT_FOUND:
            return None
        raise broker_error(error, f"asking for the offsets of {group}") from error
    return found.offset if found.offset >= 0 else None
