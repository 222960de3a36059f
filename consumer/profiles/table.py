"""Profile records by store key in flat memory: no object a profile.

It grows as it is filled, by doubling, and says how much memory it uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.profiles import table_kernel as kernel
from consumer.profiles.buffer import Buffer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from consumer.profiles.columns import Ints

SMALLEST_ROWS: Final = 1 << 8
SMALLEST_ARENA: Final = 1 << 14
# An index twice to four times as long as there are rows: few keys meet another.
PLACES_A_ROW: Final = 2


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
class Packed:
    """Profiles in columns: keys and records. Iterates over pairs of bytes.

    Its keys are not called so: to Python, what has `keys` is a mapping.
    """

    hashes: Keys
    records: Buffer

    def __len__(self) -> int:
        """Count the profiles."""
        return len(self.hashes)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Give each profile's key and record."""
        return zip(self.hashes.to_list(), self.records.to_list(), strict=True)

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Packed:
        """Take pairs, where a key's last record counts."""
        if isinstance(pairs, Packed):
            return pairs
        latest = dict(pairs)
        return cls(Keys.of(latest), Buffer.of(list(latest.values())))


class Table:
    """Records by key; what was put since `clean` is dirty."""

    def __init__(self) -> None:
        """Start empty and small."""
        self._count = self._used = 0
        self._index = np.full(PLACES_A_ROW * SMALLEST_ROWS, -1, np.int32)
        self._highs = np.empty(SMALLEST_ROWS, np.uint64)
        self._lows = np.empty(SMALLEST_ROWS, np.uint64)
        self._places = np.empty(SMALLEST_ROWS, np.int64)
        self._sizes = np.empty(SMALLEST_ROWS, np.int64)
        self._rooms = np.empty(SMALLEST_ROWS, np.int64)
        self._dirty = np.zeros(SMALLEST_ROWS, bool)
        self._arena = np.empty(SMALLEST_ARENA, np.uint8)

    @property
    def nbytes(self) -> int:
        """The memory that is in use."""
        row = 5 * 8 + 1 + 4 * PLACES_A_ROW
        return self._used + row * self._count

    def find(self, keys: Keys) -> Ints:
        """Give the row of each key, -1 where there is none."""
        rows = np.empty(len(keys), np.int64)
        kernel.find(
            self._index,
            self._highs,
            self._lows,
            self._sizes,
            keys.high,
            keys.low,
            rows,
        )
        return rows

    def sizes(self, rows: Ints) -> Ints:
        """Give the sizes of the records of rows, 0 for a row of -1."""
        found: Ints = np.where(rows < 0, 0, self._sizes[rows])
        return found

    def read(self, rows: Ints, out: NDArray[np.uint8], starts: Ints) -> None:
        """Copy the records of rows, leaving out those of -1, to `starts` in `out`."""
        kernel.read(self._arena, self._places, self._sizes, rows, out, starts)

    def put(self, profiles: Packed) -> None:
        """Take records, each in the place of its key's former one."""
        keys, records = profiles.hashes, profiles.records
        self._make_room(len(keys), int(records.bounds[-1] - records.bounds[0]))
        rows = np.empty(len(keys), np.int64)
        self._count = kernel.enter(
            self._index,
            self._highs,
            self._lows,
            self._sizes,
            self._rooms,
            self._count,
            keys.high,
            keys.low,
            rows,
        )
        self._used = kernel.write(
            self._arena,
            self._places,
            self._sizes,
            self._rooms,
            self._used,
            rows,
            records.data,
            records.bounds,
        )
        self._dirty[rows] = True

    def remove(self, keys: Keys) -> None:
        """Forget the records of keys."""
        rows = self.find(keys)
        rows = rows[rows >= 0]
        self._sizes[rows] = -1
        self._dirty[rows] = False

    def dirty(self) -> Packed:
        """Give what was put since `clean`, sorted by key."""
        rows = np.flatnonzero(self._dirty[: self._count])
        keys = Keys(self._highs[rows], self._lows[rows])
        order = np.lexsort((keys.low, keys.high))
        rows = rows[order]
        bounds = np.concatenate([[0], np.cumsum(self._sizes[rows])])
        records = Buffer.blank(bounds)
        self.read(rows, records.data, bounds)
        return Packed(keys[order], records)

    def clean(self) -> None:
        """Call everything written."""
        self._dirty[:] = False

    def _make_room(self, rows: int, size: int) -> None:
        """Grow so that so many more rows and bytes are sure to fit."""
        if self._count + rows > len(self._highs):
            length = max(2 * len(self._highs), _power(self._count + rows))
            for name in ("_highs", "_lows", "_places", "_sizes", "_rooms", "_dirty"):
                grown = np.zeros(length, getattr(self, name).dtype)
                grown[: self._count] = getattr(self, name)[: self._count]
                setattr(self, name, grown)
            self._index = np.full(PLACES_A_ROW * length, -1, np.int32)
            kernel.reindex(self._index, self._lows, self._count)
        needed = self._used + size + size // 4 + 1
        if needed > len(self._arena):
            arena = np.empty(max(2 * len(self._arena), needed), np.uint8)
            arena[: self._used] = self._arena[: self._used]
            self._arena = arena


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()
