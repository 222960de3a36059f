"""The values of records, one by one and behind each other.

Looking at a hundred thousand objects is what costs: it is done once for a batch, and
all that is asked of bytes by columns is asked of one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Packed(Sequence[bytes]):
    """Values; number `i` is also `data[starts[i] : ends[i]]`."""

    def __init__(
        self,
        held: Sequence[bytes],
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Be the values at `rows` of those held, or all of them.

        Those are fetched when they are asked for: just before they are used they
        come into the processor's cache once, not twice.
        """
        self._held = held
        self.data = data
        self.starts = starts
        self.ends = ends
        self._rows = rows

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Packed:
        """Pack values, an absent one as an empty one."""
        if isinstance(values, Packed):
            return values
        try:
            data = b"".join(values)  # type: ignore[arg-type]  # an absent one raises
        except TypeError:
            return cls.of([value or b"" for value in values])
        held = cast("Sequence[bytes]", values)
        sizes = np.fromiter(map(len, held), np.int64, len(held))
        ends = np.cumsum(sizes)
        return cls(held, np.frombuffer(data, np.uint8), ends - sizes, ends)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Count the bytes of each."""
        return self.ends - self.starts

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Keep the given rows, in their order; all of them are these themselves."""
        if len(rows) == len(self):
            return self
        own = rows if self._rows is None else self._rows[rows]
        return Packed(self._held, self.data, self.starts[rows], self.ends[rows], own)

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
        if self._rows is None:
            return self._held[at]
        if isinstance(at, slice):
            return [*map(self._held.__getitem__, self._rows[at].tolist())]
        return self._held[int(self._rows[at])]
