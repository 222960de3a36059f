"""Dead letters as Kafka records: the original bytes, with origin and reason.

Value and key are the record's own, and so are its headers; ours stand behind them
with the prefix `pos-consumer-`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer import __version__

if TYPE_CHECKING:
    from consumer.frames import DeadLetter, Records

PREFIX = "pos-consumer-"


def headers(
    letter: DeadLetter, records: Records, topic: str, topic_id: str
) -> list[tuple[str, str | bytes | None]]:
    """Give the headers of a dead letter: the record's own, then ours."""
    row = letter.row
    ours = {
        "reason": letter.reason,
        "sentence": letter.sentence,
        "topic": topic,
        "topic-id": topic_id,
        "partition": str(records.partitions[row]),
        "offset": str(records.offsets[row]),
        "timestamp": str(records.timestamps[row]),
        "schema-id": "" if letter.schema_id is None else str(letter.schema_id),
        "version": __version__,
    }
    return [
        *records.headers(row),
        *((PREFIX + name, text.encode()) for name, text in ours.items()),
    ]
