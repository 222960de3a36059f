"""Profiles on their way to the topic: columns that become objects some at a time.

What is produced must be an object. A batch's twenty megabytes of them at once are
memory that the system clears for each batch anew; some thousands stay in the
processor's cache, and their memory is that of the next ones.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.profiles.buffer import Buffer

AT_ONCE: Final = 1_000


class Outgoing(Collection[tuple[bytes, bytes]]):
    """Visitors with their records: pairs of bytes, in order.

    It is good as long as the memory is that the records lie in.
    """

    def __init__(self, visitors: pa.StringArray, records: Buffer) -> None:
        """Take a record a visitor."""
        self._visitors = visitors
        self._records = records

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._records)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Make the pairs, `AT_ONCE` at a time."""
        return chain.from_iterable(
            self._made(slice(begin, min(begin + AT_ONCE, len(self))))
            for begin in range(0, len(self), AT_ONCE)
        )

    def __contains__(self, pair: object) -> bool:
        """Look for a pair, one by one."""
        return any(one == pair for one in self)

    def _made(self, part: slice) -> Iterator[tuple[bytes, bytes]]:
        visitors = pc.cast(self._visitors[part], pa.binary()).to_pylist()
        return zip(visitors, self._records[part].to_list(), strict=True)
