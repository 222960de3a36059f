"""Columns of records in one pass: which of them fit their schema, and their values.

Enters: records of one type. Leaves: a flag for each, and a batch of those that fit.
Texts and bytes are views of the records' own bytes: nothing of them is copied, and a
column keeps the bytes of all. `events.columns_kernel` does it; here is its memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from consumer.compiled import sealed
from consumer.events import columns_kernel as kernel
from consumer.events.avro_types import DEEPEST_REPEATED, UUID_BYTES, Type
from consumer.events.layout import RECORDS, Layout
from consumer.events.views import VIEWS
from consumer.packed import Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.events.layout import Node

MOST_BYTES: Final = 2**31 - 1  # that a view can name a place in
WIDTHS: Final = {kernel.WORD: 1, kernel.VIEW: 2, kernel.OFFSET: 1, kernel.FLAG: 0}
LINE: Final = 8  # words: columns begin where a line of the processor's cache does
SPARE: Final = 64  # rows, so that a few lists in a few records need no second try
HEADROOM: Final = 1.1
MOST_EXPECTED: Final = 32  # items a record, or one odd batch would cost the next ones
GROWTH: Final = 2
NARROW: Final = {pa.date32(), pa.time32("ms"), pa.float32()}
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
DASHES: Final = (8, 13, 18, 23)


class Columns:
    """Decodes records of one type, with `before` bytes in front of each."""

    def __init__(self, of: Type, before: int) -> None:
        """Lay it out; raises `NotLaidOut` where that cannot be."""
        self._before = before
        self._layout = Layout(of)
        # What is expected of a batch: rows of each group for a record, as the last had.
        self._shares = np.ones(self._layout.groups)
        self.decode(Packed.of([]))  # compiles it, seconds before the first batch

    def decode(self, records: Packed) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        """Flag the records that hold one value of the type, whole; give their columns.

        They have at most `MOST_BYTES` in all.
        """
        layout, count = self._layout, len(records)
        fits = np.empty(count, bool)
        rows = np.zeros(layout.groups, np.int64)
        # Its own at each call: stages decode at the same time, without Python's lock.
        before, counts = np.empty_like(rows), np.zeros(DEEPEST_REPEATED, np.int64)
        lacking = np.zeros(2, np.int64)
        rooms = (self._shares * count * HEADROOM).astype(np.int64) + SPARE
        rooms[RECORDS] = count
        memory = Memory(layout, rooms)
        data = sealed(records.data)
        starts, ends = sealed(records.starts + self._before), sealed(records.ends)
        done = 0
        while (
            done := kernel.decode(
                layout.program,
                layout.views,
                layout.table,
                data,
                starts,
                ends,
                done,
                memory.places,
                memory.rooms,
                memory.words,
                memory.nulls,
                rows,
                before,
                counts,
                lacking,
                fits,
            )
        ) < count:
            group, least = lacking.tolist()
            rooms[group] = max(least, rooms[group] * GROWTH)
            memory = memory.grown(rooms, rows)
        if count:
            self._shares = np.minimum(rows / count, MOST_EXPECTED)
        whole = _Arrays(layout, memory, rows, data).array(layout.root)
        return fits, pa.RecordBatch.from_struct_array(whole)


class Memory:
    """What columns are written to: words, and a flag for each null."""

    def __init__(self, layout: Layout, rooms: NDArray[np.int64]) -> None:
        """Have room for so many rows of each group."""
        self._layout, self.rooms = layout, sealed(rooms.copy())
        places = np.empty((len(layout.columns), 2), np.int64)
        words = nulls = 0
        for number, one in enumerate(layout.columns):
            room = int(rooms[one.group])
            places[number] = words, nulls
            words += -(-room * WIDTHS[one.kind] // LINE) * LINE
            nulls += room
        self.places = sealed(places)
        self.words, self.nulls = _aligned(words), np.zeros(nulls, np.uint8)

    def words_of(self, column: int, rows: int) -> NDArray[np.uint64]:
        """Give a column's words of its first rows."""
        begin = int(self.places[column, kernel.WORDS])
        return self.words[begin:][: rows * WIDTHS[self._layout.columns[column].kind]]

    def nulls_of(self, column: int, rows: int) -> NDArray[np.uint8]:
        """Give which of a column's first rows are null."""
        return self.nulls[int(self.places[column, kernel.NULLS]) :][:rows]

    def grown(self, rooms: NDArray[np.int64], rows: NDArray[np.int64]) -> Memory:
        """Make larger memory, with what is in the first rows of this."""
        made = Memory(self._layout, rooms)
        for column, one in enumerate(self._layout.columns):
            held = int(rows[one.group])
            made.words_of(column, held)[:] = self.words_of(column, held)
            made.nulls_of(column, held)[:] = self.nulls_of(column, held)
        return made


class _Arrays:
    """Arrow's arrays of what was written; they keep the memory that they are in."""

    def __init__(
        self,
        layout: Layout,
        memory: Memory,
        rows: NDArray[np.int64],
        data: NDArray[np.uint8],
    ) -> None:
        self._memory, self._rows = memory, rows.tolist()
        self._texts = [pa.py_buffer(layout.symbols), pa.py_buffer(data)]

    def array(self, node: Node) -> pa.Array:
        """Make a column's array."""
        rows = self._rows[node.group]
        if pa.types.is_null(node.arrow):
            return pa.nulls(rows)
        buffers: list[pa.Buffer | None] = [None]
        nulls = self._memory.nulls_of(node.first, rows)
        if nulls.any():
            buffers = [pa.py_buffer(~np.packbits(nulls, bitorder="little"))]
        words = self._memory.words_of(node.first, rows)
        inner = [self.array(one) for one in node.inner]
        kind = _kind(node.arrow, inner)
        if node.kind == kernel.OFFSET:
            offsets = np.append(words, np.uint64(self._rows[node.items]))
            buffers.append(pa.py_buffer(offsets.astype(np.int32)))
            if pa.types.is_map(kind):
                fields = [*kind.field(0).type]
                inner = [pa.StructArray.from_arrays(inner, fields=fields)]
        elif node.is_uuid:
            kind, text = node.arrow, _hyphened(words.view(np.uint8))
            ends = np.arange(rows + 1, dtype=np.int32) * text.shape[1]
            buffers += [pa.py_buffer(ends), pa.py_buffer(text)]
        elif kind in VIEWS.values():
            buffers += [pa.py_buffer(words), *self._texts]
        elif node.kind != kernel.FLAG:
            buffers.append(pa.py_buffer(_values(kind, words)))
        return pa.Array.from_buffers(kind, rows, buffers, children=inner)


def _kind(arrow: pa.DataType, inner: list[pa.Array]) -> pa.DataType:
    """Give a type with views where it has texts or bytes."""
    if pa.types.is_struct(arrow):
        fields = zip(arrow, inner, strict=True)
        return pa.struct([(field.name, one.type) for field, one in fields])
    if pa.types.is_map(arrow):
        return pa.map_(*(one.type for one in inner))
    if pa.types.is_list(arrow):
        return pa.list_(inner[0].type)
    return VIEWS.get(arrow, arrow)


def _values(kind: pa.DataType, words: NDArray[np.uint64]) -> NDArray[Any]:
    """Give a word's lowest bits where a value has no more."""
    if kind == pa.bool_():
        return np.packbits(words.astype(bool), bitorder="little")
    return words.astype(np.uint32) if kind in NARROW else words


def _hyphened(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write 16 bytes a row as the 36 characters of a UUID."""
    raw = raw.reshape(-1, UUID_BYTES)
    digits = np.empty((len(raw), UUID_BYTES * 2), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = HEX[raw >> 4], HEX[raw & 15]
    width = UUID_BYTES * 2 + len(DASHES)
    text = np.full((len(raw), width), ord("-"), np.uint8)
    text[:, [place for place in range(width) if place not in DASHES]] = digits
    return text


def _aligned(words: int) -> NDArray[np.uint64]:
    room = np.empty(words + LINE, np.uint64)
    begin = -room.ctypes.data % (LINE * room.itemsize) // room.itemsize
    return room[begin : begin + words]


def warm() -> None:
    """Compile the kernel before it is needed: seconds, the first time on a machine."""
    Columns(Type("record", pa.struct([])), 0)
