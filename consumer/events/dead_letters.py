"""Dead letters as Kafka records: the original bytes, with origin and reason.

Value and key are the record's own, and so are its headers; ours stand behind them
with the prefix `pos-consumer-`. What is too large for the topic is cut, and says so:
the length and the hash of the whole stay, and the origin tells where it lies.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from consumer import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.frames import DeadLetter, Records

PREFIX: Final = "pos-consumer-"
FIRST: Final = f"{PREFIX}reason"  # of our headers
# Lengths, deltas and the checksums of a record and of the batch that it travels in.
FRAMING_BYTES: Final = 200

Headers: TypeAlias = "list[tuple[str, str | bytes | None]]"
Record: TypeAlias = "tuple[bytes | None, bytes | None, Headers]"


def to_record(
    letter: DeadLetter,
    records: Records,
    topic: str,
    topic_id: str,
    largest: int,
) -> Record:
    """Give a dead letter's key, value and headers: at most `largest` bytes in all."""
    row = letter.row
    key, value = records.keys[row], records.values[row]
    headers: Headers = [*records.headers(row)]
    ours = _origin(letter, records, topic, topic_id)
    if size(key, value, [*headers, *ours]) > largest:
        whole = value or b""
        ours += [
            (f"{PREFIX}whole-bytes", str(len(whole)).encode()),
            (f"{PREFIX}whole-sha256", hashlib.sha256(whole).hexdigest().encode()),
        ]
        if size(key, b"", [*headers, *ours]) > largest:
            headers, key = [], None  # they alone are too large
        room = largest - size(key, b"", [*headers, *ours])
        value = whole[: max(0, room)]
    return key, value, [*headers, *ours]


def _origin(letter: DeadLetter, records: Records, topic: str, topic_id: str) -> Headers:
    row = letter.row
    schema_id = "" if letter.schema_id is None else str(letter.schema_id)
    return [
        (FIRST, letter.reason.encode()),
        (f"{PREFIX}sentence", letter.sentence.encode()),
        *_of_topic(topic, topic_id),
        (f"{PREFIX}partition", str(records.partitions[row]).encode()),
        (f"{PREFIX}offset", str(records.offsets[row]).encode()),
        (f"{PREFIX}timestamp", str(records.timestamps[row]).encode()),
        (f"{PREFIX}schema-id", schema_id.encode()),
    ]


@cache
def _of_topic(topic: str, topic_id: str) -> Headers:
    facts = {"topic": topic, "topic-id": topic_id, "version": __version__}
    return [(PREFIX + name, text.encode()) for name, text in facts.items()]


def size(
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, str | bytes | None]],
) -> int:
    """Give the most bytes that a record takes in its topic."""
    total = FRAMING_BYTES + len(key or b"") + len(value or b"")
    for name, text in headers:
        total += len(name) + len(text or "") + 10
    return total
