"""What a batch refused, as records for the topic of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.events.dead_letters import to_record

if TYPE_CHECKING:
    from consumer.events.dead_letters import Record
    from consumer.frames import Records, Verdicts
    from consumer.kafka.topics import Cluster


def dead_letters_of(
    verdicts: Verdicts, records: Records, source: str, topic: str, cluster: Cluster
) -> dict[int, list[Record]]:
    """Give the records that `topic` keeps of those refused in `source`, by partition.

    A dead letter's partition is the original's, or one for several of them.
    """
    found: dict[int, list[Record]] = {}
    for letter in verdicts.dead_letters:
        home = int(records.partitions[letter.row]) % cluster.partitions[topic]
        record = to_record(
            letter,
            records,
            source,
            cluster.topic_ids[source],
            cluster.largest_records[topic],
        )
        found.setdefault(home, []).append(record)
    return found
