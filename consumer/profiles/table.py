"""Profile records by store key in flat memory: no object a profile.

It grows as it is filled, by doubling, says how much memory it uses, and forgets what
was written longest ago to use less.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.profiles import table_kernel as kernel
from consumer.profiles.buffer import Buffer, Scratch
from consumer.profiles.table_kernel import DIRTY, HIGH, LOW, PLACE, ROOM, SIZE, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from consumer.profiles.columns import Ints

SMALLEST_ROWS: Final = 1 << 8
SMALLEST_ARENA: Final = 1 << 14
# Room that is never written to takes no memory, and each move copies everything.
AHEAD: Final = 4
# Pairs of bytes that are made at a time.
AT_ONCE: Final = 1 << 10
# Where less than a fifth of the memory is gaps, closing them is not worth the copying.
GAPS: Final = 5
# An index twice to four times as long as there are rows: few keys meet another.
PLACES_A_ROW: Final = 2
ROW: Final = 8 * kernel.LINE + 4 * PLACES_A_ROW


@dataclass(frozen=True, slots=True)
class Keys:
    """Store keys in columns: the high and the low halves of visitor hashes."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def __len__(self) -> int:
        """Count the keys."""
        return len(self.high)

    def __getitem__(self, rows: slice | Ints | NDArray[np.bool_]) -> Keys:
        """Pick some of the keys."""
        return Keys(self.high[rows], self.low[rows])

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> Keys:
        """Read 16-byte keys."""
        halves = np.frombuffer(b"".join(keys), ">u8").astype(np.uint64).reshape(-1, 2)
        return cls(halves[:, 0].copy(), halves[:, 1].copy())

    def to_list(self) -> list[bytes]:
        """Write each key as 16 bytes, which sort like the numbers."""
        pairs = np.empty((len(self), 2), ">u8")
        pairs[:, 0], pairs[:, 1] = self.high, self.low
        listed: list[bytes] = pairs.view("V16").reshape(-1).tolist()
        return listed


@dataclass(frozen=True, slots=True)
class Pairs:
    """Profiles in columns: keys and records. Iterates over pairs of bytes.

    Its keys are not called so: to Python, what has `keys` is a mapping.
    """

    hashes: Keys
    records: Buffer

    def __len__(self) -> int:
        """Count the profiles."""
        return len(self.hashes)

    @property
    def nbytes(self) -> int:
        """The bytes of all records."""
        return int(self.records.bounds[-1] - self.records.bounds[0])

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Give each profile's key and record."""
        return zip(self.hashes.to_list(), self.records.to_list(), strict=True)

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Pairs:
        """Take pairs, where a key's last record counts."""
        if isinstance(pairs, Pairs):
            return pairs
        latest = dict(pairs)
        return cls(Keys.of(latest), Buffer.of(list(latest.values())))


class Table:
    """Records by key; what was put since `clean` is dirty."""

    def __init__(self) -> None:
        """Start empty and small."""
        self._count = self._used = self._waiting = self._unwritten = self._puts = 0
        self._touched = 0  # bytes of the arena that were ever used: they are resident
        self._index = np.full(PLACES_A_ROW * SMALLEST_ROWS, -1, np.int32)
        self._lines = np.empty((SMALLEST_ROWS, kernel.LINE), np.int64)
        self._arena = np.empty(SMALLEST_ARENA, np.uint8)

    @property
    def nbytes(self) -> int:
        """The memory that is in use."""
        return self._used + ROW * self._count

    @property
    def waiting(self) -> int:
        """The number of records that are dirty."""
        return self._waiting

    @property
    def unwritten(self) -> int:
        """The bytes of what is dirty."""
        return self._unwritten

    def find(self, keys: Keys) -> tuple[Ints, Ints]:
        """Give the row of each key, -1 where there is none, and its record's size."""
        rows, sizes = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        high, low = keys.high.view(np.int64), keys.low.view(np.int64)
        kernel.find(self._index, self._lines, high, low, rows, sizes)
        return rows, sizes

    def read(self, rows: Ints, out: NDArray[np.uint8], starts: Ints) -> None:
        """Copy the records of rows, leaving out those of -1, to `starts` in `out`."""
        kernel.read(self._arena, self._lines, rows, out, starts)

    def put(self, profiles: Pairs) -> None:
        """Take records, each in the place of its key's former one."""
        keys, records = profiles.hashes, profiles.records
        self._make_room(len(keys), int(records.bounds[-1] - records.bounds[0]))
        self._puts += 1
        numbers = kernel.put(
            self._index,
            self._lines,
            self._arena,
            self._count,
            self._used,
            self._waiting,
            self._unwritten,
            keys.high.view(np.int64),
            keys.low.view(np.int64),
            records.data,
            records.bounds,
            self._puts,
        )
        self._count, self._used, self._waiting, self._unwritten = numbers
        self._touched = max(self._touched, self._used)

    def remove(self, keys: Keys) -> None:
        """Forget the records of keys."""
        rows, _ = self.find(keys)
        rows = np.unique(rows[rows >= 0])
        dirty = rows[self._column(DIRTY)[rows] == 1]
        self._waiting -= len(dirty)
        self._unwritten -= int((self._column(SIZE)[dirty] + 8 * kernel.LINE).sum())
        self._lines[rows, SIZE], self._lines[rows, DIRTY] = -1, 0

    def dirty(self) -> Dirty:
        """Give what was put since `clean`, sorted by key; good until the next `put`."""
        rows = np.flatnonzero(self._column(DIRTY))
        keys = self._keys(rows)
        order = np.argsort(keys.high)
        if (np.diff(keys.high[order]) == 0).any():
            order = np.lexsort((keys.low, keys.high))
        return Dirty(self, rows[order])

    def pairs(self, rows: Ints) -> Iterator[tuple[bytes, bytes]]:
        """Give the keys and records of rows."""
        bounds = np.concatenate([[0], np.cumsum(self._column(SIZE)[rows])])
        records = Buffer.blank(bounds)
        self.read(rows, records.data, bounds)
        return iter(Pairs(self._keys(rows), records))

    def clean(self) -> None:
        """Call everything written."""
        self._column(DIRTY)[:] = 0
        self._waiting = self._unwritten = 0

    def shrink(self, most: int) -> bool:
        """Use less than `most` bytes; tells whether anything was forgotten for it.

        It is, to half of `most`, where closing gaps is not enough: what was put longest
        ago, and nothing that is dirty.
        """
        lines = self._lines[: self._count]
        lines = lines[lines[:, SIZE] >= 0]
        taken = lines[:, ROOM] + ROW
        forget = int(taken.sum()) > most - most // GAPS
        if forget:
            newest = np.lexsort((-lines[:, WRITTEN], -lines[:, DIRTY]))
            kept = np.cumsum(taken[newest]) <= most // 2
            kept |= lines[newest, DIRTY] == 1
            lines = lines[newest[kept]]
        lines = lines[np.argsort(lines[:, PLACE])]
        length = max(SMALLEST_ROWS, _power(len(lines)))
        # Where memory is wanting, nothing has been moved yet.
        whole = np.empty((length, kernel.LINE), np.int64)
        index = np.full(PLACES_A_ROW * length, -1, np.int32)
        self._used = kernel.squeeze(lines, self._arena)
        whole[: len(lines)] = lines
        kernel.reindex(index, whole, len(lines))
        self._count, self._lines, self._index = len(lines), whole, index
        if self._touched > most + most // 4:
            self._move(self._used)
        return forget

    def _keys(self, rows: Ints) -> Keys:
        halves = self._lines[rows, :PLACE].view(np.uint64)
        return Keys(halves[:, HIGH], halves[:, LOW])

    def _column(self, column: int) -> Ints:
        return self._lines[: self._count, column]

    def _make_room(self, rows: int, size: int) -> None:
        """Grow so that so many more rows and bytes are sure to fit."""
        if self._count + rows > len(self._lines):
            length = max(2 * len(self._lines), _power(self._count + rows))
            lines = np.empty((length, kernel.LINE), np.int64)
            lines[: self._count] = self._lines[: self._count]
            self._enter(lines, self._count)
        needed = self._used + size + size // 4 + 1
        if needed > len(self._arena):
            try:
                self._move(AHEAD * needed)
            except MemoryError:  # the system refuses more at once than it has
                self._move(needed + needed // 4)

    def _enter(self, lines: Ints, count: int) -> None:
        index = np.full(PLACES_A_ROW * len(lines), -1, np.int32)
        kernel.reindex(index, lines, count)
        self._lines, self._index = lines, index

    def _move(self, size: int) -> None:
        """Take an arena of another size."""
        arena = np.empty(max(size, SMALLEST_ARENA), np.uint8)
        arena[: self._used] = self._arena[: self._used]
        self._arena, self._touched = arena, self._used


@dataclass(frozen=True, slots=True)
class Dirty:
    """Rows of a table. Iterates over pairs of bytes, which it makes some at a time."""

    table: Table
    rows: Ints

    def __len__(self) -> int:
        """Count the records."""
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Give each record's key and the record."""
        parts = (self.rows[at : at + AT_ONCE] for at in range(0, len(self), AT_ONCE))
        return chain.from_iterable(self.table.pairs(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Found:
    """A record a key, from a table or, those of `rest`, from beside it.

    It is good until the next `put`, and says where its records are: each is copied but
    once, to where it is needed.
    """

    table: Table
    rows: Ints
    sizes: Ints
    rest: Ints
    beside: Buffer

    def copy_to(self, out: NDArray[np.uint8], starts: Ints) -> None:
        """Copy each record to its start in `out`."""
        self.table.read(self.rows, out, starts)
        self.beside.copy_to(out, starts[self.rest])

    def to_list(self) -> list[bytes]:
        """Make an object of each record."""
        return Buffer.concat([self], Scratch()).to_list()


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()
