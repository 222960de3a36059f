"""Which records of a batch fit their schema: found in columns, without decoding them.

Enters: framed records of one type. Leaves: a flag for each. The fast codec fails a
whole batch for one bad record and does not say which; this walks all records at once,
field by field, each field one step over arrays of positions. It may flag a sound record
(one with very many items, or a number of ten bytes): the safe codec decides on those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.events.avro_types import PLAIN, Type
from consumer.events.strict import RANGES
from consumer.events.wire import DECIMAL_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Positions = NDArray[np.int64]

CHUNK: Final = 16_384  # records at a time: each step has a price of its own
# Each item is a step for all lists that have so many; not worth it for a few lists.
FEWEST_LISTS: Final = 16
MOST_ITEMS: Final = 256
SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}
LONGEST: Final = 9  # bytes of a number
# A record that went wrong is led here, where every byte is 0 and every step is short.
PADDING: Final = bytes(131_072)
KEY: Final = Type("string", PLAIN["string"])


def fitting(
    of: Type, records: Sequence[bytes], before: int, behind: int
) -> NDArray[np.bool_]:
    """Flag the records that hold one value of the type, whole.

    Each has `before` bytes in front of it and `behind` bytes that do not count.
    """
    flags = [
        _Chunk(records[begin : begin + CHUNK], behind).fitting(of, before)
        for begin in range(0, len(records), CHUNK)
    ]
    return np.concatenate(flags or [np.empty(0, bool)])


class _Chunk:
    """Some records behind each other, and the walk over them.

    A walk takes the owners (rows) and positions of some values of one type, and gives
    the positions behind them.
    """

    def __init__(self, records: Sequence[bytes], behind: int) -> None:
        self._joined = b"".join([*records, PADDING])
        self._bytes = np.frombuffer(self._joined, np.uint8)
        sizes = np.fromiter(map(len, records), np.int64, len(records))
        ends = np.cumsum(sizes)
        self._starts, self._ends = ends - sizes, ends - behind
        self._nowhere = len(self._joined) - len(PADDING)
        self._bad = np.zeros(len(records), bool)
        self._texts: list[tuple[Positions, Positions, Positions]] = []

    def fitting(self, of: Type, before: int) -> NDArray[np.bool_]:
        rows = np.arange(len(self._bad))
        ends = self._walk(of, rows, self._starts + before)
        self._bad |= ends != self._ends
        self._check_texts()
        return ~self._bad

    def _walk(self, of: Type, rows: Positions, at: Positions) -> Positions:
        match of.kind:
            case "fixed" | "null" | "boolean" | "float" | "double":
                size = SIZES.get(of.kind, of.size)
                at = self._within(rows, at, size)
                if of.kind == "boolean":
                    self._refuse(rows, self._bytes[at] > 1)
                return at + size
            case "string" | "bytes":
                return self._sized(of, rows, at)
            case "union":
                return self._union(of, rows, at)
            case "array" | "map":
                return self._blocks(of, rows, at)
            case "record":
                for one in of.fields:
                    at = self._walk(one.type, rows, at)
                return at
            case _:
                return self._number(of, rows, at)

    def _refuse(self, rows: Positions, bad: NDArray[np.bool_]) -> None:
        if bad.any():
            self._bad[rows[bad]] = True

    def _within(
        self, rows: Positions, at: Positions, size: int | Positions
    ) -> Positions:
        """Lead values that end behind their record to where nothing is."""
        beyond = at + size > self._ends[rows]
        if not beyond.any():
            return at
        self._refuse(rows, beyond)
        return np.where(beyond, self._nowhere, at)

    def _varint(self, rows: Positions, at: Positions) -> tuple[Positions, Positions]:
        at = self._within(rows, at, 1)
        first = self._bytes[at].astype(np.int64)
        found, at = first & 0x7F, at + 1
        more = np.flatnonzero(first & 0x80)
        shift = 7
        while len(more):
            if shift == 7 * LONGEST:
                self._bad[rows[more]] = True
                at[more] = self._nowhere
                break
            byte = self._bytes[np.minimum(at[more], len(self._bytes) - 1)]
            found[more] |= (byte.astype(np.int64) & 0x7F) << shift
            at[more] += 1
            more = more[byte >= 0x80]  # noqa: PLR2004 - the bit that says: go on
            shift += 7
        return (found >> 1) ^ -(found & 1), at

    def _number(self, of: Type, rows: Positions, at: Positions) -> Positions:
        found, at = self._varint(rows, at)
        low, high = RANGES.get(of.logical, (0, len(of.symbols)))
        if high:
            self._refuse(rows, (found < low) | (found >= high))
        return at

    def _sized(self, of: Type, rows: Positions, at: Positions) -> Positions:
        size, at = self._varint(rows, at)
        negative = size < 0
        if of.logical == "decimal":
            negative |= size > DECIMAL_BYTES
        if negative.any():
            self._refuse(rows, negative)
            size = np.where(negative, 0, size)
        size = np.minimum(size, len(self._bytes))  # or it may overflow
        at = self._within(rows, at, size)
        size = np.where(at == self._nowhere, 0, size)
        if of.kind == "string":
            self._texts.append((rows, at, size))
        return at + size

    def _union(self, of: Type, rows: Positions, at: Positions) -> Positions:
        branch, at = self._varint(rows, at)
        self._refuse(rows, (branch < 0) | (branch >= len(of.parts)))
        for place, part in enumerate(of.parts):
            if part.kind != "null":
                mine = np.flatnonzero(branch == place)
                if len(mine):
                    at[mine] = self._walk(part, rows[mine], at[mine])
        return at

    def _blocks(self, of: Type, rows: Positions, at: Positions) -> Positions:
        active = np.arange(len(rows))
        while len(active):
            count, there = self._varint(rows[active], at[active])
            sized = np.flatnonzero(count < 0)
            if len(sized):
                count[sized] = -count[sized]
                _, there[sized] = self._varint(rows[active[sized]], there[sized])
            many = count > np.minimum(self._ends[rows[active]] - there, MOST_ITEMS)
            if many.any():
                self._refuse(rows[active], many)
                count[many], there[many] = 0, self._nowhere
            at[active] = there
            active, count = active[count > 0], count[count > 0]
            self._items(of, rows, at, active, count)
        return at

    def _items(
        self,
        of: Type,
        rows: Positions,
        at: Positions,
        active: Positions,
        count: Positions,
    ) -> None:
        """Walk a block's items, the first of each list, then the second, and so on."""
        (part,) = of.parts
        while len(active):
            if len(active) < FEWEST_LISTS:
                self._bad[rows[active]] = True
                at[active] = self._nowhere
                return
            mine, there = rows[active], at[active]
            if of.kind == "map":
                there = self._sized(KEY, mine, there)
            at[active] = self._walk(part, mine, there)
            count = count - 1
            active, count = active[count > 0], count[count > 0]

    def _check_texts(self) -> None:
        """Find texts that are no UTF-8 among those with a byte beyond ASCII."""
        high = np.cumsum(self._bytes >= 0x80, dtype=np.int32)  # noqa: PLR2004 - ASCII ends
        for rows, at, size in self._texts:
            beyond = np.flatnonzero(high[at + size - 1] > high[at - 1])
            for place in beyond.tolist():
                begin = int(at[place])
                if not _is_text(self._joined[begin : begin + int(size[place])]):
                    self._bad[rows[place]] = True


def _is_text(found: bytes) -> bool:
    try:
        found.decode()
    except UnicodeDecodeError:
        return False
    return True
