"""How a consumer is a member of its group: by which protocol, and how partitions move.

| `[kafka.consumer]` | partitions move |
|---|---|
| nothing, or `partition.assignment.strategy = "cooperative-sticky"` | one by one |
| another strategy | all at once: each rebalance takes all and gives all |
| `group.protocol = "consumer"` (KIP-848, the broker assigns) | one by one |

By KIP-848 the session, too, is the broker's: how long a member may be silent is a
setting of the group.

librdkafka wants partitions that move one by one to be taken and given up with its
incremental calls, and all others with the plain ones; it refuses to mix them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    ResourceType,
)

from consumer.kafka.clients import admin_client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Consumer, TopicPartition

    from consumer.config import Settings

PROTOCOL: Final = "group.protocol"
CLASSIC: Final = "classic"
STRATEGY: Final = "partition.assignment.strategy"
SESSION: Final = "session.timeout.ms"
SESSION_OF_GROUP: Final = "consumer.session.timeout.ms"
DEFAULT_SESSION: Final = 45.0
"""Seconds: of librdkafka, and the least that a broker allows by KIP-848 unless told."""

COOPERATIVE: Final = "cooperative-sticky"
# Of no use to a client that joins no group, and refused by librdkafka where they do
# not fit each other.
OF_MEMBERS: Final = (PROTOCOL, "group.instance.id", "group.remote.assignor", STRATEGY)


_ASK_SECONDS: Final = 30.0

log = structlog.get_logger(__name__)


class Membership:
    """Takes partitions and gives them up as the group's protocol wants it."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Read librdkafka's options; `options` are they with our default strategy."""
        self.options = dict(options)
        self.classic = self.options.get(PROTOCOL, CLASSIC).lower() == CLASSIC
        if self.classic:
            self.options.setdefault(STRATEGY, COOPERATIVE)
            self.incremental = self.options[STRATEGY].strip() == COOPERATIVE
        else:
            self.incremental = True

    def session_seconds(self, settings: Settings) -> float:
        """Return how long a member of the group may be silent before others take over.

        Blocks where the broker has to be asked.
        """
        if self.classic:
            text = self.options.get(SESSION)
            return DEFAULT_SESSION if text is None else float(text) / 1_000
        group = self.options["group.id"]
        resource = ConfigResource(ResourceType.GROUP, group)
        admin = admin_client(settings)  # has to live until the answer is there
        asked = admin.describe_configs([resource], request_timeout=_ASK_SECONDS)
        try:
            return float(str(asked[resource].result()[SESSION_OF_GROUP].value)) / 1_000
        except (KafkaException, KeyError) as error:
            log.warning(
                "The session timeout of the group cannot be read; it is taken to be "
                "the default. If it is shorter, allow DescribeConfigs on the group.",
                group=group,
                seconds=DEFAULT_SESSION,
                error=str(error),
            )
            return DEFAULT_SESSION

    def take(
        self,
        consumer: Consumer,
        partitions: list[TopicPartition],
        held: Sequence[TopicPartition] = (),
    ) -> None:
        """Take what the group has assigned, beside what is `held`.

        Held ones go on from the offset given, where all are assigned anew.
        """
        if self.incremental:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign([*held, *partitions])

    def give_up(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give up what was revoked or is lost."""
        if self.incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()


def without_group(options: Mapping[str, str]) -> dict[str, str]:
    """Leave out what concerns members of groups, for a consumer that is none."""
    return {name: value for name, value in options.items() if name not in OF_MEMBERS}
