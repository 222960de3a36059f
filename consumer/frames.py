"""Values that cross stages: raw records in columns, and what became of each.

A `Records` enters from `kafka`, `events` turns it into `Events` plus verdicts, and
`profiles` folds the events. Row `i` of every column belongs to one record.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from consumer import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl
    from numpy.typing import NDArray

Headers: TypeAlias = "list[tuple[str, bytes | None]]"


class Outcome(IntEnum):
    """What a record became; every record ends as exactly one of these."""

    FOLDED = 0
    DUPLICATE = 1
    FILTERED = 2
    DEAD_LETTERED = 3

    @property
    def label(self) -> str:
        """The word used in metrics, logs and tables."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Records:
    """A batch as Kafka delivered it: columns of equal length.

    The records of a partition are in the order of their offsets.

    `partitions` int32, `offsets` int64 and `timestamps` int64 (milliseconds since
    the epoch) are numpy arrays; `keys` and `values` are sequences, None where absent,
    and `Packed` where none is. `headers(i)` gives one record's headers, for
    dead letters, rekeying, and schemas that are named in a header.
    """

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Callable[[int], Headers] = field(default=lambda _row: [])

    def __len__(self) -> int:
        """Count the records."""
        return len(self.offsets)

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Put batches behind each other."""
        if len(parts) == 1:
            return parts[0]
        ends = list(accumulate(map(len, parts)))
        begins = [0, *ends[:-1]]
        heads = [part.headers for part in parts]  # and not their keys and values

        def headers(row: int) -> Headers:
            part = bisect_right(ends, row)
            return heads[part](row - begins[part])

        return cls(
            partitions=np.concatenate([part.partitions for part in parts]),
            offsets=np.concatenate([part.offsets for part in parts]),
            timestamps=np.concatenate([part.timestamps for part in parts]),
            keys=packed.joined([part.keys for part in parts]),
            values=packed.joined([part.values for part in parts]),
            headers=headers,
        )

    def take(self, rows: NDArray[np.int64]) -> Records:
        """Keep the given rows, in the given order."""
        headers = self.headers
        return Records(
            partitions=self.partitions[rows],
            offsets=self.offsets[rows],
            timestamps=self.timestamps[rows],
            keys=packed.taken(self.keys, rows),
            values=packed.taken(self.values, rows),
            headers=lambda row: headers(int(rows[row])),
        )

    def next_offsets(self) -> dict[int, int]:
        """Give, for each partition present, the offset after its last record."""
        return {
            int(partition): int(self.offsets[self.partitions == partition].max()) + 1
            for partition in np.unique(self.partitions)
        }


@dataclass(frozen=True, slots=True)
class Items:
    """The operands of `from = "items"` attributes, one row per line item.

    `events` (int64) is the row in `Events` that an item belongs to, `index` (int32)
    its place within that event.
    """

    events: NDArray[np.int64]
    index: NDArray[np.int32]
    operands: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Events:
    """Decoded and mapped events, fit to be folded.

    `records` (int64) is the row in the `Records` of the batch. `identity` has the
    columns `event_id`, `visitor` and `key` (String; what the record's key must be) and
    `event_time` Int64 (microseconds since the epoch); only `key` may be null.
    `operands` holds one column per operand of the plan's event attributes (see
    `plan.compile.Plan`); null: takes no part.
    """

    records: NDArray[np.int64]
    identity: pl.DataFrame
    operands: pl.DataFrame
    items: Items | None

    def __len__(self) -> int:
        """Count the events."""
        return len(self.records)

    def where(self, keep: NDArray[np.bool_]) -> Events:
        """Keep the events whose flag is set, and their items."""
        if bool(keep.all()):
            return self
        items = self.items
        if items is not None:
            stay = keep[items.events]
            renumbered = np.cumsum(keep) - 1
            items = Items(
                events=renumbered[items.events[stay]],
                index=items.index[stay],
                operands=items.operands.filter(stay),
            )
        return Events(
            records=self.records[keep],
            identity=self.identity.filter(keep),
            operands=self.operands.filter(keep),
            items=items,
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why one record cannot be an event: its row, a bounded reason, a sentence."""

    row: int
    reason: str
    sentence: str
    schema_id: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How a partition's records fared lately; see `events.dead_letter_limits`.

    `in_a_row` dead letters were the last records; of the last `records`, those of the
    window under way, `refused` were dead letters.
    """

    in_a_row: int = 0
    records: int = 0
    refused: int = 0


@dataclass(slots=True)
class Verdicts:
    """What became of each record of a batch; filled while the batch is worked on.

    `held` are rows that cannot be judged now, with what they wait for; `conflicts`
    those duplicates that say something else than the first event of their id.
    """

    outcomes: NDArray[np.uint8]
    dead_letters: list[DeadLetter] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    conflicts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, count: int) -> Verdicts:
        """Start with every record `folded`, to be corrected as steps refuse some."""
        return cls(np.full(count, Outcome.FOLDED, np.uint8))

    def mark(self, rows: NDArray[Any], outcome: Outcome) -> None:
        """Give the rows an outcome other than dead-lettered."""
        self.outcomes[rows] = outcome

    def refuse(self, letter: DeadLetter) -> None:
        """Make one record a dead letter."""
        self.outcomes[letter.row] = Outcome.DEAD_LETTERED
        self.dead_letters.append(letter)

    def counts(self) -> dict[Outcome, int]:
        """Count the records by outcome; the sum is the number of records."""
        counted = np.bincount(self.outcomes, minlength=len(Outcome))
        return {outcome: int(counted[outcome]) for outcome in Outcome}
