"""What stands in the `control` topic, and the view of it at one moment. All pure.

| key | value (JSON) | written by |
|---|---|---|
| `generation/N` | a state of the configuration, see `Generation` | who starts with it |
| `request/<id>` | `kind`, `at`, `partitions`, `body` | a command |
| `progress/<id>/<partition>` | `state`, `done`, `total`, `at`, `body` | the owner |
| `replayed/<topic id>/<partition>/<offset>` | see `Replayed` | `dead-letters replay` |

A request has ended once as many partitions as it names have reported `done` or
`failed`. An owner that restarts, or a new one, finds the request and how far it is, and
goes on from there: so each step must be harmless when it is done twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterable

Body = Mapping[str, Any]
"""What a kind of request, or its progress, carries beyond the common fields."""

DONE: Final = "done"
FAILED: Final = "failed"
ENDS: Final = (DONE, FAILED)

_GENERATION: Final = "generation"
_REQUEST: Final = "request"
_PROGRESS: Final = "progress"
_REPLAYED: Final = "replayed"


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of the configuration: definitions by attribute, profile schema.

    `partitions` is what the input had when the application began, 0 if not known;
    `pseudonyms` the fingerprint of the key that visitor ids are hashed under, if any;
    `at` when this was announced, in seconds since the epoch, 0 if not known. `since`
    names for each attribute the generation that it began with, with nothing: what
    profiles of an older generation hold under its name is not its own. `rebuild` says
    what a rebuild has computed for it, where one has; see `stages.rebuilt`. `ends`
    stands in the first one alone: where each partition of the source ended when the
    application began, empty if not known.
    """

    number: int
    schema_id: int
    schema: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 0
    pseudonyms: str = ""
    at: float = 0.0
    since: Mapping[str, int] = field(default_factory=dict)
    rebuild: Body = field(default_factory=dict)
    ends: Sequence[int] = field(default_factory=list)
    in_key: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_GENERATION}/{self.number}"


@dataclass(frozen=True, slots=True)
class Request:
    """Something that every partition's owner is asked to do once.

    `kind` names it ("resync", "erase", …), `at` is when it was asked for, in seconds
    since the epoch, `partitions` how many owners must report its end.
    """

    id: str
    kind: str
    at: float
    partitions: int
    body: Body = field(default_factory=dict)
    in_key: ClassVar[tuple[str, ...]] = ("id",)

    @classmethod
    def new(cls, kind: str, at: float, partitions: int, body: Body) -> Self:
        """Make a request with an id that sorts by time and no other has."""
        return cls(f"{int(at)}-{uuid4().hex[:12]}", kind, at, partitions, body)

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_REQUEST}/{self.id}"

    def progress(  # noqa: PLR0913 - a record's fields
        self,
        partition: int,
        state: str,
        at: float,
        *,
        done: int = 0,
        total: int = 0,
        body: Body | None = None,
    ) -> Progress:
        """Make a report of one partition's owner about this request."""
        return Progress(self.id, partition, state, at, done, total, body or {})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one partition is with a request: `done` of `total`, in its own unit.

    `state` is a word of the kind's own, or `done` or `failed`, which are its end. The
    body holds what the next owner needs in order to go on.
    """

    request: str
    partition: int
    state: str
    at: float
    done: int = 0
    total: int = 0
    body: Body = field(default_factory=dict)
    in_key: ClassVar[tuple[str, ...]] = ("request", "partition")

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_PROGRESS}/{self.request}/{self.partition}"

    @property
    def ended(self) -> bool:
        """Whether the partition's owner has nothing left to do for the request."""
        return self.state in ENDS


@dataclass(frozen=True, slots=True)
class Replayed:
    """Records of one partition that were refused and then written to it once more.

    `origins` are the offsets of the refused records, `copies` those of the new ones, in
    the same order; `first` is the first copy's.
    """

    topic_id: str
    partition: int
    first: int
    at: float
    origins: list[int]
    copies: list[int]
    in_key: ClassVar[tuple[str, ...]] = ("topic_id", "partition", "first")

    @property
    def key(self) -> str:
        """The record's key."""
        return f"{_REPLAYED}/{self.topic_id}/{self.partition}/{self.first}"


Record = Generation | Request | Progress | Replayed


def encode(record: Record) -> bytes:
    """Write a record's value; what stands in its key is left out."""
    value = {k: v for k, v in asdict(record).items() if k not in record.in_key}
    return json.dumps(value, sort_keys=True).encode()


def decode(key: str, value: bytes) -> Record | None:
    """Read a record; None for a key of a kind that this release does not know.

    Fields that it does not know are passed over. ValueError, KeyError or TypeError
    where the record is not what its key says.
    """
    kind, _, rest = key.partition("/")
    if kind == _GENERATION:
        return Generation(**_known(Generation, value))
    if kind == _REQUEST:
        return Request(id=rest, **_known(Request, value))
    if kind == _PROGRESS:
        request, _, partition = rest.rpartition("/")
        found = _known(Progress, value)
        return Progress(request=request, partition=int(partition), **found)
    if kind == _REPLAYED:
        topic_id, partition, first = rest.rsplit("/", 2)
        found = _known(Replayed, value)
        return Replayed(topic_id, int(partition), int(first), **found)
    return None


def _known(record: type[Record], value: bytes) -> dict[str, Any]:
    names = {one.name for one in fields(record)} - set(record.in_key)
    return {k: v for k, v in dict(json.loads(value)).items() if k in names}


@dataclass(frozen=True, slots=True)
class ControlView:
    """The topic up to `next_offset`. It never changes: a later state is a later view.

    So threads may share one, and whether anything has changed is one comparison:
    `view is not seen`.
    """

    next_offset: int = 0
    records: Mapping[str, Record] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with each record that cannot be read, by its key."""

    def with_records(
        self, found: Iterable[tuple[bytes, bytes | None]], next_offset: int
    ) -> ControlView:
        """Return the view after further records, in their order."""
        records, unreadable = dict(self.records), dict(self.unreadable)
        for raw, value in found:
            key = raw.decode(errors="replace")
            records.pop(key, None)
            unreadable.pop(key, None)
            if value is None:
                continue
            try:
                record = decode(key, value)
            except (ValueError, KeyError, TypeError) as error:
                unreadable[key] = f"{type(error).__name__}: {error}"
            else:
                if record is not None:
                    records[key] = record
        return replace(
            self, next_offset=next_offset, records=records, unreadable=unreadable
        )

    @property
    def generations(self) -> list[Generation]:
        """All generations, oldest first."""
        found = [one for one in self.records.values() if isinstance(one, Generation)]
        return sorted(found, key=lambda one: one.number)

    def requests(self, kind: str | None = None) -> list[Request]:
        """All requests of a kind, or of every kind, oldest first; ended ones too."""
        found = [one for one in self.records.values() if isinstance(one, Request)]
        wanted = [one for one in found if kind is None or one.kind == kind]
        return sorted(wanted, key=lambda one: (one.at, one.id))

    def progress(self, request: str) -> dict[int, Progress]:
        """Give what the owners have reported about a request, by partition."""
        return {
            one.partition: one
            for one in self.records.values()
            if isinstance(one, Progress) and one.request == request
        }

    def open_requests(self, kind: str, partition: int) -> list[Request]:
        """Give what the owner of a partition still has to do, oldest first."""
        found = []
        for request in self.requests(kind):
            mine = self.records.get(f"{_PROGRESS}/{request.id}/{partition}")
            ended = isinstance(mine, Progress) and mine.ended
            if partition < request.partitions and not ended:
                found.append(request)
        return found

    def replayed(self, topic_id: str, partition: int) -> dict[int, int]:
        """Give the refused records that were written again: their copies' offsets."""
        return {
            origin: copy
            for one in self.records.values()
            if isinstance(one, Replayed)
            and (one.topic_id, one.partition) == (topic_id, partition)
            for origin, copy in zip(one.origins, one.copies, strict=True)
        }

    def ended(self, request: Request) -> bool:
        """Whether every partition that must has reported the request's end."""
        found = self.progress(request.id)
        return all(p in found and found[p].ended for p in range(request.partitions))

    def removable(self, before: float) -> list[str]:
        """Give the keys that may be removed: requests that ended before a time.

        A request comes before its progress: a request without progress would be done
        again. So progress whose request is gone is removable too.
        """
        keys = []
        requests = self.requests()
        for request in requests:
            reports = self.progress(request.id).values()
            last = max((one.at for one in reports), default=request.at)
            if self.ended(request) and last < before:
                keys += [request.key, *(one.key for one in reports)]
        there = {request.id for request in requests}
        keys += [
            one.key
            for one in self.records.values()
            if isinstance(one, Progress) and one.request not in there
        ]
        return keys
