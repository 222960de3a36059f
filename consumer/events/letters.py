"""Dead letters read back: `Records` of their topic to what is known of each.

The inverse of `events.dead_letters`, for people and for the export.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from consumer.events.dead_letters import FIRST, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.frames import Records

NOT_OURS = "(not ours)"


@dataclass(frozen=True, slots=True)
class Kept:
    """A dead letter as it was read back: what our headers say, and the others.

    `timestamp` is the original record's, in milliseconds; `headers` are its own.
    `whole_bytes` and `whole_sha256` tell of a value that was cut.
    """

    reason: str
    sentence: str
    topic: str
    topic_id: str
    partition: int
    offset: int
    timestamp: int
    schema_id: int | None
    version: str
    whole_bytes: int | None
    whole_sha256: str | None
    headers: list[tuple[str, bytes | None]]


def from_headers(headers: Sequence[tuple[str, bytes | None]]) -> Kept | None:
    """Read the headers of a dead letter; None where they are not ours.

    Ours are the last: a record that had such headers before keeps them as its own.
    """
    names = [name for name, _ in headers]
    if FIRST not in names:
        return None
    begin = len(names) - 1 - names[::-1].index(FIRST)
    facts = {
        name.removeprefix(PREFIX): (text or b"").decode("utf-8", "replace")
        for name, text in headers[begin:]
    }
    cut = facts.get("whole-bytes")
    try:
        return Kept(
            reason=facts["reason"],
            sentence=facts["sentence"],
            topic=facts["topic"],
            topic_id=facts["topic-id"],
            partition=int(facts["partition"]),
            offset=int(facts["offset"]),
            timestamp=int(facts["timestamp"]),
            schema_id=int(facts["schema-id"]) if facts["schema-id"] else None,
            version=facts["version"],
            whole_bytes=None if cut is None else int(cut),
            whole_sha256=facts.get("whole-sha256"),
            headers=list(headers[:begin]),
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Letter:
    """One record of the topic of dead letters; `kept` is None where it is not ours.

    `refused_at` is when it was written there, in milliseconds since the epoch.
    """

    partition: int
    offset: int
    refused_at: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    kept: Kept | None

    @property
    def reason(self) -> str:
        """Its reason; a record that is not ours has none."""
        return self.kept.reason if self.kept else NOT_OURS

    def as_json(self) -> dict[str, Any]:
        """Give all of it for JSON: bytes in base64, times in ISO 8601."""
        kept = self.kept
        shown: dict[str, Any] = {
            "partition": self.partition,
            "offset": self.offset,
            "refused_at": iso(self.refused_at),
            "reason": None if kept is None else kept.reason,
        }
        if kept is not None:
            shown |= {
                "sentence": kept.sentence,
                "origin": {
                    "topic": kept.topic,
                    "topic_id": kept.topic_id,
                    "partition": kept.partition,
                    "offset": kept.offset,
                    "timestamp": kept.timestamp,
                },
                "schema_id": kept.schema_id,
                "version": kept.version,
            }
            if kept.whole_bytes is not None:
                shown["whole"] = {
                    "bytes": kept.whole_bytes,
                    "sha256": kept.whole_sha256,
                }
        headers = [[name, _base64(text)] for name, text in self.headers]
        return shown | {
            "key": _base64(self.key),
            "value": _base64(self.value),
            "headers": headers,
        }


def letters(records: Records) -> Iterator[Letter]:
    """Read the records of the topic of dead letters."""
    for row in range(len(records)):
        headers = records.headers(row)
        kept = from_headers(headers)
        yield Letter(
            partition=int(records.partitions[row]),
            offset=int(records.offsets[row]),
            refused_at=int(records.timestamps[row]),
            key=records.keys[row],
            value=records.values[row],
            headers=headers if kept is None else kept.headers,
            kept=kept,
        )


def iso(milliseconds: int) -> str:
    """Write a record's timestamp as ISO 8601; one that is no date, as its number."""
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return str(milliseconds)
    return moment.isoformat(timespec="milliseconds")


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")
