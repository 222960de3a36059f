"""What the reader of `profiles` hands over: records in columns, changes of assignment.

See `profiles_reader`, which makes them.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Message
    from numpy.typing import NDArray

_RECORD_OVERHEAD: Final = 100  # bytes of a record beside its value, roughly


@dataclass(frozen=True, slots=True)
class ProfileBatch:
    """Records of one partition, in order and without tombstones.

    `offsets` int64, `timestamps` int64 (milliseconds since the epoch) and `values` are
    of equal length; `next_offset` lies after the last record, tombstones included.
    `epoch` tells one assignment of the partition from the next.
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
    """These partitions are ours; each flows once `begin` was called for it."""

    partitions: tuple[int, ...]


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


def columns(
    partition: int, epoch: int, records: Sequence[Message], end: int | None
) -> ProfileBatch:
    """Make columns of one partition's records; `end` is its end, if it was reached."""
    kept = [record for record in records if record.value() is not None]
    values = [record.value() or b"" for record in kept]
    reached = offset_of(records[-1]) + 1 if records else 0
    return ProfileBatch(
        partition=partition,
        epoch=epoch,
        offsets=np.array([record.offset() for record in kept], np.int64),
        timestamps=np.array([record.timestamp()[1] for record in kept], np.int64),
        values=values,
        next_offset=max(reached, end or 0),
        records=len(records),
        size=sum(map(len, values)) + _RECORD_OVERHEAD * len(records),
    )


def offset_of(record: Message) -> int:
    """Return a delivered record's offset, which is never absent."""
    return cast("int", record.offset())
