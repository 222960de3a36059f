"""Counts everything again, slowly: raw records in, every visitor's attributes out.

The oracle of the demo and of the tests. It shares nothing with the service: records are
decoded one by one with fastavro, and each attribute is plain Python written by hand
(`consumer.sandbox.accumulators`). Its memory grows with distinct events and visitors.
"""

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import fastavro

from consumer.sandbox.accumulators import EPOCH, Attribute, Profile

DAY_MS: Final = 86_400_000
_FRAMING: Final = 5
_LONGEST_VISITOR: Final = 256
_BUCKETS: Final = 8  # of the deduplication horizon
_LEAD_MS: Final = 3_600_000
_ENOUGH: Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in the topic."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    partition: int
    offset: int


@dataclasses.dataclass(frozen=True, slots=True)
class Recount:
    """What a correct service arrives at."""

    profiles: Mapping[str, Mapping[str, str]]  # visitor to rendered attributes
    outcomes: Mapping[str, int]  # folded, duplicate, filtered, dead_lettered
    dead_letters: Mapping[str, int]  # by reason
    conflicts: int  # those duplicates whose contents differ from the first


class NotAnEvent(Exception):  # noqa: N818  # a verdict, not an error
    """A record is no usable event; the argument is the dead letter's reason."""


def recount(  # noqa: PLR0913 - what decides about a profile
    records: Iterable[Record],
    attributes: Sequence[Attribute],
    schemas: Mapping[int, str],
    *,
    horizon_ms: int = DAY_MS,
    today: date = EPOCH,
    watch: Callable[[Record, str, str], None] = lambda _record, _outcome, _reason: None,
    event_of: Callable[[bytes, Mapping[int, Any]], dict[str, Any]] | None = None,
) -> Recount:
    """Recount `records`, which are in offset order within each partition.

    `schemas` are Avro schemas as JSON by schema id. `horizon_ms` is the deduplication
    horizon, 0 is none; windows end with the day `today`. `watch` is told what became of
    each record: its outcome, and the reason of a dead letter. `event_of` decodes a
    value that is no purchase of the sandbox's own schema.
    """
    parsed = {id_: fastavro.parse_schema(json.loads(s)) for id_, s in schemas.items()}
    outcomes: Counter[str] = Counter()
    dead_letters: Counter[str] = Counter()
    conflicts = 0
    profiles: dict[str, Profile] = {}
    horizons: dict[int, SeenIds] = {}
    for record in records:
        seen = horizons.setdefault(record.partition, SeenIds(horizon_ms))
        seen.advance(record.timestamp_ms)
        outcome, reason = "folded", ""
        if record.value is None:
            outcome = "filtered"
        else:
            try:
                event = checked((event_of or decode)(record.value, parsed))
            except NotAnEvent as verdict:
                outcome, reason = "dead_lettered", str(verdict)
                dead_letters[reason] += 1
            else:
                first = seen.first_contents(event["event_id"], hash(record.value))
                if first is None:
                    visitor = event["visitor_id"]
                    if visitor not in profiles:
                        profiles[visitor] = Profile(attributes, today)
                    profiles[visitor].add(event)
                else:
                    outcome = "duplicate"
                    conflicts += first != hash(record.value)
        outcomes[outcome] += 1
        watch(record, outcome, reason)
    rendered = {visitor: profile.render() for visitor, profile in profiles.items()}
    return Recount(rendered, dict(outcomes), dict(dead_letters), conflicts)


def read(value: bytes, schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Decode one record's value completely, or raise `NotAnEvent`."""
    return checked(decode(value, schemas))


def checked(event: dict[str, Any]) -> dict[str, Any]:
    """Give an event that has an identity, or raise `NotAnEvent`."""
    visitor = event["visitor_id"]
    if not visitor:
        raise NotAnEvent("missing_visitor")
    if len(visitor) > _LONGEST_VISITOR or "+" in visitor or "/" in visitor:
        raise NotAnEvent("invalid_visitor")
    if not event["event_id"]:
        raise NotAnEvent("missing_event_id")
    if event["occurred_at"] is None:
        raise NotAnEvent("missing_event_time")
    return event


def decode(value: bytes, schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Decode one record's value, whatever its fields hold, or raise `NotAnEvent`."""
    if not value:
        raise NotAnEvent("empty")
    if value[0] != 0:
        raise NotAnEvent("bad_magic")
    if len(value) < _FRAMING:
        raise NotAnEvent("undecodable")
    schema = schemas.get(int.from_bytes(value[1:_FRAMING], "big"))
    if schema is None:
        raise NotAnEvent("unknown_schema")
    rest = io.BytesIO(value[_FRAMING:])
    try:
        event: Any = fastavro.schemaless_reader(rest, schema, None)
    except Exception as error:  # fastavro raises whatever its parts raise
        raise NotAnEvent("undecodable") from error
    if rest.read(1):
        raise NotAnEvent("trailing_bytes")
    return dict(event)


class SeenIds:
    """The event ids of one partition within the deduplication horizon.

    The clock is the stream time: the highest record timestamp so far, but one that
    leads by more than an hour is doubted until a hundred more have led than have not.
    It is cut into buckets of an eighth of the horizon, and an id counts as seen as long
    as the bucket of its first sighting is at most eight before the present one. What is
    doubted is remembered under its own time, rounded up.
    """

    def __init__(self, horizon_ms: int) -> None:
        """Start with nothing seen."""
        self._width = horizon_ms / _BUCKETS
        self._stream_ms = 0
        self._confirmed = False
        self._leading: list[int] = []  # what led, less what did not
        self._filed_ms = 0
        self._seen: dict[str, tuple[int, int]] = {}

    def advance(self, timestamp_ms: int) -> None:
        """Move the stream time on; it never goes back but at the very start."""
        lead = timestamp_ms - self._stream_ms
        if self._stream_ms == 0 or (not self._confirmed and lead < -_LEAD_MS):
            self._stream_ms = max(0, timestamp_ms)
            self._confirmed = False
        elif lead <= _LEAD_MS:
            self._stream_ms = max(self._stream_ms, timestamp_ms)
            self._confirmed = True
            if self._leading:  # the earliest stays, for as long as any does
                self._leading.sort()
                self._leading.pop()
        else:
            self._confirmed = True
            self._leading.append(timestamp_ms)
            if len(self._leading) == _ENOUGH:
                self._stream_ms = min(self._leading)
                self._leading = []
        self._filed_ms = self._stream_ms
        lead = timestamp_ms - self._stream_ms
        if lead > 0:
            unit = 2 ** min(50, lead.bit_length() - 1)
            self._filed_ms = min(2**52, -(-timestamp_ms // unit) * unit)

    def first_contents(self, event_id: str, contents: int) -> int | None:
        """Return the contents this id was first seen with, None if this is the first.

        A first sighting is remembered with its `contents`.
        """
        if self._width == 0:
            return None
        bucket = int(self._stream_ms // self._width)
        found = self._seen.get(event_id)
        if found is not None and bucket - found[0] <= _BUCKETS:
            return found[1]
        self._seen[event_id] = (int(self._filed_ms // self._width), contents)
        return None
