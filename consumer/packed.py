"""Values of bytes behind each other: a column of them, without an object for each.

What a hundred thousand objects cost is looking at each of them, and once more to free
them. Here they are one array, and a value becomes an object when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Packed(Sequence[bytes]):
    """Values; number `i` is `data[starts[i] : ends[i]]`.

    `data` is uint8; `starts` and `ends` are int64.
    """

    def __init__(
        self,
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> None:
        """Be the values that lie between `starts` and `ends`."""
        self.data = data
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Packed:
        """Pack values, an absent one as an empty one."""
        if isinstance(values, Packed):
            return values
        try:
            return cls._present(values)
        except TypeError:
            return cls._present([value or b"" for value in values])

    @classmethod
    def _present(cls, values: Sequence[Any]) -> Packed:
        """Pack values; raises TypeError where one is absent."""
        data = b"".join(values)
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.cumsum(sizes)
        return cls(np.frombuffer(data, np.uint8), ends - sizes, ends)

    @classmethod
    def unless_absent(cls, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Pack values; they are given back as they are where one is absent."""
        try:
            return cls._present(values)
        except TypeError:
            return values

    @classmethod
    def joined(cls, parts: Sequence[Packed]) -> Packed:
        """Put columns behind each other."""
        if len(parts) == 1:
            return parts[0]
        lengths = [len(part.data) for part in parts]
        begins = np.cumsum([0, *lengths[:-1]]).tolist()
        pairs = list(zip(begins, parts, strict=True))
        return cls(
            np.concatenate([part.data for part in parts]),
            np.concatenate([begin + part.starts for begin, part in pairs]),
            np.concatenate([begin + part.ends for begin, part in pairs]),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Count the bytes of each."""
        return self.ends - self.starts

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Keep the given rows, in their order; nothing is copied."""
        return Packed(self.data, self.starts[rows], self.ends[rows])

    def to_arrow(self) -> pa.LargeBinaryArray:
        """Give them as an Arrow array; where they lie close together without a copy."""
        if not len(self):
            return pa.array([], pa.large_binary())
        offsets = np.append(self.starts, self.ends[-1:])
        data = self.data
        if not (offsets[1:] == self.ends).all():
            data = data[ranges(self.starts, self.sizes)]
            offsets = np.append(0, np.cumsum(self.sizes))
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.large_binary(), len(self), buffers)

    def __len__(self) -> int:
        """Count the values."""
        return len(self.starts)

    def __iter__(self) -> Iterator[bytes]:
        """Go through the values."""
        return iter(self[:])

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        """Give one value, or some."""
        if isinstance(at, slice):
            part = Packed(self.data, self.starts[at], self.ends[at])
            listed: list[bytes] = part.to_arrow().to_pylist()
            return listed
        return self.data[self.starts[at] : self.ends[at]].tobytes()


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate `arange(start, start + length)` for every pair."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    moved: NDArray[np.int64] = np.repeat(starts - (ends - lengths), lengths)
    return np.arange(total) + moved


def taken(
    values: Sequence[bytes | None], rows: NDArray[np.int64]
) -> Sequence[bytes | None]:
    """Keep the given rows of values, packed or not."""
    if isinstance(values, Packed):
        return values.take(rows)
    return [values[row] for row in rows.tolist()]


def joined(parts: Sequence[Sequence[bytes | None]]) -> Sequence[bytes | None]:
    """Put values behind each other, packed if all of them are."""
    packed = [part for part in parts if isinstance(part, Packed)]
    if packed and len(packed) == len(parts):
        return Packed.joined(packed)
    return [value for part in parts for value in part]


def to_arrow(values: Sequence[bytes | None]) -> pa.LargeBinaryArray:
    """Give values as an Arrow array, null where one is absent."""
    if isinstance(values, Packed):
        return values.to_arrow()
    return pa.array(values, pa.large_binary())
