"""How a consumer is a member of its group: by which protocol, and how partitions move.

| `[kafka.consumer]` | partitions move |
|---|---|
| nothing, or `partition.assignment.strategy = "cooperative-sticky"` | one by one |
| another strategy | all at once: each rebalance takes all and gives all |
| `group.protocol = "consumer"` (KIP-848, the broker assigns) | one by one |

librdkafka wants partitions that move one by one to be taken and given up with its
incremental calls, and all others with the plain ones; it refuses to mix them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Consumer, TopicPartition

PROTOCOL: Final = "group.protocol"
CLASSIC: Final = "classic"
STRATEGY: Final = "partition.assignment.strategy"
COOPERATIVE: Final = "cooperative-sticky"
# Of no use to a client that joins no group, and refused by librdkafka where they do
# not fit each other.
OF_MEMBERS: Final = (PROTOCOL, "group.instance.id", "group.remote.assignor", STRATEGY)


class Membership:
    """Takes partitions and gives them up as the group's protocol wants it."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Read librdkafka's options; `options` are they with our default strategy."""
        self.options = dict(options)
        if self.options.get(PROTOCOL, CLASSIC).lower() == CLASSIC:
            self.options.setdefault(STRATEGY, COOPERATIVE)
            self.incremental = self.options[STRATEGY].strip() == COOPERATIVE
        else:
            self.incremental = True

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
