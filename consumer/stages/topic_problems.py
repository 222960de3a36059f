"""What is wrong with topics to the point that partitions must not go on. Pure.

| reason | problem | halts |
|---|---|---|
| `cleanup_policy` | `profiles` or `state` is not compacted, or not only | all |
| `partition_count_changed` | the input had another number of partitions | all |
| `pseudonym_key_changed` | profiles were written under another key | all |
| `offset_out_of_range` | records were removed before they were read | that one |
| `partition_absent` | `profiles` or `state` has fewer than the input | those |

A changed count halts all, since it moves visitors from one partition to another, away
from their profiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.errors import PartitionHalt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.config import Settings
    from consumer.kafka.control_records import Generation
    from consumer.kafka.topics import Cluster, Difference


def cleanup_problem(
    found: Iterable[Difference], settings: Settings
) -> PartitionHalt | None:
    """Find out whether the broker may remove state."""
    own = {settings.topics.profiles, settings.topics.state}
    for one in found:
        if one.kind == "cleanup" and one.topic in own:
            remedy = f"{one.remedy} Then restart. {one.command}".rstrip()
            return PartitionHalt("cleanup_policy", remedy, what=one.what)
    return None


def count_problem(settings: Settings, was: int, now: int) -> PartitionHalt | None:
    """Find out whether visitors may have moved between partitions."""
    if now == was:
        return None
    source = settings.topics.purchases
    return PartitionHalt(
        "partition_count_changed",
        "Produce to a topic that has had its partitions from the start, and read it "
        "under another `application`.",
        what=f"{source} had {was} partitions and has {now} now: visitors' events may "
        "come in other partitions than their profiles are in.",
    )


def pseudonym_problem(
    known: Iterable[Generation], fingerprint: str
) -> PartitionHalt | None:
    """Find out whether visitors had other names when their profiles were written."""
    if all(one.pseudonyms == fingerprint for one in known):
        return None
    return PartitionHalt(
        "pseudonym_key_changed",
        "Bring the key of purchases.pseudonym_key back, or start anew under another "
        "`application`.",
        what="Profiles were written under another key of pseudonyms than the one that "
        "is configured, or only one of the two has a key: every visitor would be "
        "somebody else.",
    )


def absence_problem(
    cluster: Cluster, settings: Settings, number: int
) -> PartitionHalt | None:
    """Find out whether a partition of the input has where to keep its state."""
    for topic in (settings.topics.profiles, settings.topics.state):
        count = cluster.partitions[topic]
        if number >= count:
            return PartitionHalt(
                "partition_absent",
                f"Add partitions to {topic} (`pos-consumer topics plan` says how) and "
                "restart.",
                what=f"{topic} has {count} partitions, so that partition {number} of "
                f"{settings.topics.purchases} has none to keep its state in.",
            )
    return None


def out_of_range(number: int, why: str) -> PartitionHalt:
    """Say that records are gone before they were read."""
    return PartitionHalt(
        "offset_out_of_range",
        "Retention has removed records that were not read, or the topic was recreated. "
        "Decide what is to be done about the loss before you reset the position.",
        what=f"The next offset of partition {number} is no longer in the topic: {why}.",
    )
