"""What the reader of `profiles` hands over: records in columns, changes of assignment.

See `profiles_reader`, which makes them.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Message
    from numpy.typing import NDArray

SINCE: Final = "pos-consumer-since"
_RECORD_OVERHEAD: Final = 100  # bytes of a record beside its value, roughly


@dataclass(frozen=True, slots=True)
class ProfileBatch:
    """Records of one partition, in order and without tombstones.

    `offsets` int64, `timestamps` int64 and `values` are of equal length; `next_offset`
    lies after the last record, tombstones included. A timestamp (milliseconds since the
    epoch) is when the oldest of the events was recorded that went into the profile
    last, or the profile's own where that is not known. `epoch` tells one assignment of
    the partition from the next.
    """

    partition: int
    epoch: int
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: Sequence[bytes]
    next_offset: int
    records: int
    size: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """These partitions are ours; each flows once `begin` was called for it.

    `epochs` has the epoch of each, as its batches carry it.
    """

    epochs: Mapping[int, int]

    @property
    def partitions(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self.epochs)


@dataclass(frozen=True, slots=True)
class Revoked:
    """These partitions leave; answer with `leave` what is to be committed for them."""

    partitions: tuple[int, ...]
    answer: Future[dict[int, int]] = field(default_factory=Future)

    def leave(self, offsets: Mapping[int, int]) -> None:
        """Let the partitions go after committing these offsets."""
        if not self.answer.done():
            self.answer.set_result(dict(offsets))


@dataclass(frozen=True, slots=True)
class Lost:
    """These partitions are somebody else's already; nothing can be committed."""

    partitions: tuple[int, ...]


Change = Assigned | Revoked | Lost


def since_header(oldest: float | None) -> list[tuple[str, str | bytes | None]] | None:
    """Return the headers of a transaction's first profile in a partition.

    They tell when the oldest of its events was recorded, for the latency of delivery.
    Not the profile's own timestamp: compaction and retention go by that.
    """
    return None if oldest is None else [(SINCE, str(int(oldest * 1000)))]


def event_times(
    records: Sequence[Message], since: int | None
) -> tuple[list[int], int | None]:
    """Return each record's time as in `ProfileBatch`, and `since` for the next ones.

    `since` is what the last header before these records said, if there was one.
    """
    times = []
    for record in records:
        if (headers := record.headers()) is not None:
            since = _since(headers) or since
        own = record.timestamp()[1]
        times.append(own if since is None else min(own, since))
    return times, since


def _since(headers: Any) -> int | None:  # noqa: ANN401 - a list or a dict
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        if name == SINCE and value is not None and value.isdigit():
            return int(value)
    return None


def columns(
    partition: int,
    epoch: int,
    records: Sequence[Message],
    times: Sequence[int],
    end: int | None,
) -> ProfileBatch:
    """Make columns of one partition's records; `end` is its end, if it was reached.

    `times` are those of `event_times`.
    """
    at = [row for row, record in enumerate(records) if record.value() is not None]
    kept = [records[row] for row in at]
    values = [record.value() or b"" for record in kept]
    reached = offset_of(records[-1]) + 1 if records else 0
    return ProfileBatch(
        partition=partition,
        epoch=epoch,
        offsets=np.array([record.offset() for record in kept], np.int64),
        timestamps=np.array([times[row] for row in at], np.int64),
        values=values,
        next_offset=max(reached, end or 0),
        records=len(records),
        size=sum(map(len, values)) + _RECORD_OVERHEAD * len(records),
    )


def offset_of(record: Message) -> int:
    """Return a delivered record's offset, which is never absent."""
    return cast("int", record.offset())
