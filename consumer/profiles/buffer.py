"""Records of bytes end to end: a column of them, without an object for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa

from consumer.profiles.table_kernel import scatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.profiles.columns import Ints

# Whoever reads a number that was cut short meets these zeros, not foreign memory.
PADDING: Final = 16


class Scratch:
    """Memory that batch after batch is written to, one at a time.

    Memory that is asked for anew would be cleared by the system, page by page.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._bytes = np.empty(0, np.uint8)

    def room(self, size: int) -> NDArray[np.uint8]:
        """Give so many bytes, whatever they hold; the last ones given are void."""
        if size > len(self._bytes):
            self._bytes = np.empty(size + size // 4, np.uint8)
        return self._bytes[:size]


class Copied(Protocol):
    """Records wherever they are, to be copied together."""

    @property
    def sizes(self) -> Ints:
        """The length of each record."""

    def copy_to(self, out: NDArray[np.uint8], starts: Ints) -> None:
        """Copy each record to its start in `out`."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Record `i` is `data[bounds[i]:bounds[i + 1]]`; `PADDING` zeros follow the last.

    `data` is uint8; `bounds` int64, one more than records.
    """

    data: NDArray[np.uint8]
    bounds: Ints

    def __len__(self) -> int:
        """Count the records."""
        return len(self.bounds) - 1

    @property
    def sizes(self) -> Ints:
        """The length of each record."""
        return np.diff(self.bounds)

    def longs_at(self, place: int) -> NDArray[np.int32]:
        """Read four bytes of each record, from `place` on, as a big-endian number."""
        starts = self.bounds[:-1, None] + np.arange(place, place + 4)
        heads: NDArray[np.int32] = self.data[starts].view(">i4").reshape(-1)
        return heads

    def __getitem__(self, rows: slice) -> Buffer:
        """Give some consecutive records, without copying them."""
        return Buffer(self.data, self.bounds[rows.start : rows.stop + 1])

    @classmethod
    def blank(cls, bounds: Ints, scratch: Scratch | None = None) -> Buffer:
        """Make room for records, yet to be written, of its own or in `scratch`."""
        size = int(bounds[-1]) + PADDING
        data = np.empty(size, np.uint8) if scratch is None else scratch.room(size)
        data[-PADDING:] = 0
        return cls(data, bounds)

    @classmethod
    def concat(cls, parts: Sequence[Copied], scratch: Scratch) -> Buffer:
        """Put records behind each other, in `scratch`."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(part.sizes for part in parts)])
        whole = cls.blank(np.cumsum(sizes), scratch)
        at = 0
        for part in parts:
            count = len(part.sizes)
            part.copy_to(whole.data, whole.bounds[at : at + count])
            at += count
        return whole

    @classmethod
    def of(cls, records: Sequence[bytes]) -> Buffer:
        """Put records behind each other."""
        bounds = np.zeros(len(records) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, records), np.int64), out=bounds[1:])
        return cls(_padded(b"".join(records), int(bounds[-1])), bounds)

    @classmethod
    def of_arrow(cls, records: pa.BinaryArray) -> Buffer:
        """Take the records of an Arrow array without nulls."""
        _, offsets, data = records.buffers()
        begin = records.offset
        bounds = np.frombuffer(offsets, np.int32)[begin : begin + len(records) + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        held = memoryview(data)[first:last] if data is not None else b""
        return cls(_padded(held, last - first), bounds.astype(np.int64) - first)

    def copy_to(self, out: NDArray[np.uint8], starts: Ints) -> None:
        """Copy each record to its start in `out`."""
        scatter(self.data, self.bounds, out, starts)

    def to_list(self) -> list[bytes]:
        """Make an object of each record."""
        buffers = [None, pa.py_buffer(self.bounds), pa.py_buffer(self.data)]
        kind = pa.large_binary()
        listed: list[bytes] = pa.Array.from_buffers(
            kind, len(self), buffers
        ).to_pylist()
        return listed


def _padded(data: bytes | memoryview, size: int) -> NDArray[np.uint8]:
    padded = np.empty(size + PADDING, np.uint8)
    padded[:size] = np.frombuffer(data, np.uint8, size)
    padded[size:] = 0
    return padded
