"""What Target has of a profile, as far as topics and committed offsets tell.

Enters: the versions of one profile that are still in the topic. Leaves: whether the
newest was accepted, is under way, was rejected or waits, and which version Target has.
What only the uploading process knows (a wait for its slot, a retry) is on its page.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from consumer.kafka.groups import committed_offset
from consumer.kafka.uploads_ledger import Entry, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.config import Settings
    from consumer.kafka.excerpt import Excerpt

State = Literal["delivered", "accepted", "in_flight", "waiting", "rejected"]


@dataclass(frozen=True, slots=True)
class Version:
    """One record of a profile, `written_at` in milliseconds; None is a tombstone."""

    version: int | None
    offset: int
    written_at: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the newest version; `has` is the one that Target has.

    `has` is None where none was accepted, or that one is no longer in the topic.
    """

    state: State
    sentence: str
    has: int | None
    batch_id: str | None = None


def delivery(
    settings: Settings,
    topic: Callable[[str], Excerpt],
    visitor: str,
    partition: int,
    versions: Sequence[Version],
) -> Delivery:
    """Judge by the upload group's offset, the open batches and the rejected rows."""
    topics, newest = settings.topics, versions[-1]
    entries = _open_entries(topic(topics.uploads), partition)
    rejected = _rejected(topic(topics.rejected_rows), partition, visitor)
    group = settings.upload_group
    committed = committed_offset(settings, group, topics.profiles, partition)
    refused = None if rejected is None else rejected["version"]
    passed = [
        one.version
        for one in versions
        if one.offset < (committed or 0) and one.version != refused
    ]
    has = passed[-1] if passed else None
    if rejected is not None and refused == newest.version:
        words = f"Target cannot take it: {rejected['reason']}, {rejected['sentence']}."
        return Delivery("rejected", words, has)
    holding = [one for one in entries if _holds(one, newest.offset)]
    if holding:
        return _under_way(holding[-1], newest, has)
    if committed is None:
        words = "No upload stage has committed anything of this partition."
    elif newest.offset < committed:
        words = "Target has accepted it"
        if settings.target.delivery.confirm:
            words += ", and its batch has come to its end"
        return Delivery("delivered", f"{words}.", has)
    else:
        words = (
            f"What was uploaded for certain ends at offset {committed:,} of "
            f"{topics.profiles}, this version is at {newest.offset:,}."
        )
    return Delivery("waiting", words, has)


def _open_entries(excerpt: Excerpt, partition: int) -> list[Entry]:
    """Give the batches that have not come to their end, oldest first."""
    values: dict[bytes | None, bytes] = {}
    for records in excerpt.read(partition):
        for key, value in zip(records.keys, records.values, strict=True):
            values.pop(key, None)
            if value is not None:
                values[key] = value
    return [decode(key, value, partition) for key, value in values.items()]


def _rejected(excerpt: Excerpt, partition: int, visitor: str) -> dict[str, Any] | None:
    newest: bytes | None = None
    for records in excerpt.read(partition, keys=(visitor.encode(),)):
        newest = records.values[-1]
    return None if newest is None else json.loads(newest)


def _holds(entry: Entry, offset: int) -> bool:
    return any(first <= offset <= last for first, last in entry.ranges)


def _under_way(entry: Entry, newest: Version, has: int | None) -> Delivery:
    perhaps = "" if entry.exact else "Probably (its batch is too large to tell): "
    if entry.accepted:
        at = _clock(entry.accepted_at or entry.intent_at)
        words = f"Target accepted it at {at}; its batch has not come to its end yet."
        return Delivery("accepted", perhaps + words, newest.version, entry.batch_id)
    words = f"It is in a batch that is being sent since {_clock(entry.intent_at)}."
    return Delivery("in_flight", perhaps + words, has)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
