"""The kernel's columns: what it undoes and it makes room for, whose bytes they are."""

from __future__ import annotations

import gc
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from consumer.events import codecs, columns_kernel
from consumer.events.codecs import Codec
from consumer.events.columns import Columns, Memory, warm
from consumer.events.framing import FRAME
from consumer.events.views import without_views
from consumer.packed import Packed
from tests.unit.events.test_codecs import array, codec_of, encoded, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.events.layout import Layout

NULLABLE = {
    "type": "record",
    "name": "N",
    "fields": [
        {"name": "a", "type": ["null", "long"]},
        {"name": "b", "type": {"type": "array", "items": ["null", "string"]}},
    ],
}
LISTS: Any = ["null", {"type": "array", "items": ["null", NULLABLE]}]
NOBODY = {"a": None, "b": [None, None, "a text of more than twelve bytes"]}
BYTES_DECIMAL = {
    "type": "bytes",
    "logicalType": "decimal",
    "precision": 38,
    "scale": 0,
}


def record(x: Any, after: str = "z") -> dict[str, Any]:  # noqa: ANN401 - of any type
    """Give the fields around a value."""
    return {"before": "a", "x": x, "after": after}


def same(codec: Codec, records: list[bytes]) -> pa.Array:
    """Decode by the kernel, hold it to the strict reader, and give its values."""
    assert codec.fast
    found = codec.decode(records)
    safe = codec._decode_safe(records, np.arange(len(records)))
    assert found.rows.tolist() == safe.rows.tolist()
    found.columns.validate(full=True)
    made = without_views(found.columns.to_struct_array())
    assert made.equals(safe.columns.to_struct_array())
    return found.columns["x"]


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 34])
def test_what_a_refused_record_wrote_is_undone(cut: int) -> None:
    """Neither its nulls nor its items are left, wherever it ends."""
    codec = codec_of(LISTS)
    empty = encoded(codec, record([]))
    full = encoded(codec, record([{"a": 1, "b": ["b"]}, {"a": 2, "b": ["c", "d"]}]))
    nulls = encoded(codec, record([None, NOBODY, None, NOBODY]))
    poison = [nulls[:-cut], encoded(codec, record(None))[:-1]]
    found = same(codec, [full, *poison, full, *poison, empty, *poison, nulls])
    assert found.null_count == 0
    assert found.to_pylist()[1] == found.to_pylist()[0]


def test_lists_have_the_room_that_they_need() -> None:
    """Also where the batch before had none, and lists in lists outgrow theirs."""
    codec = codec_of(LISTS)
    few = [encoded(codec, record([]))] * 100
    many = [
        encoded(codec, record([{"a": at, "b": ["b"] * (at % 9)}] * at))
        for at in range(120)
    ]
    for records in (few, many, few, [*many, few[0][:-1], *many], many[:1]):
        same(codec, records)


def test_what_a_list_claims_to_hold_takes_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A count that the record's bytes cannot hold is refused before room is made."""
    monkeypatch.setattr(Memory, "grown", None)
    codec = codec_of(array({"type": "fixed", "name": "F", "size": 9}))
    claims = bytes(FRAME) + varint(0) + varint(200_000) + bytes(300_000)
    assert not len(codec.decode([claims] * 3).rows)
    with pytest.raises(TypeError):
        codec.decode([claims + bytes(1_600_000)])


def test_one_odd_record_takes_no_room_of_those_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list of a million items alone in its batch is not expected of every record."""
    codec = codec_of(array("long"))
    items = varint(1_000_000) + bytes(1_000_001)
    assert len(codec.decode([bytes(FRAME) + varint(0) + items + varint(0)]).rows)
    rooms: list[int] = []
    made = Memory.__init__

    def watched(self: Memory, layout: Layout, room: NDArray[np.int64]) -> None:
        rooms.append(int(room.sum()))
        made(self, layout, room)

    monkeypatch.setattr(Memory, "__init__", watched)
    assert len(codec.decode(codec.sample(16) * 1_000).rows) == 16_000
    assert max(rooms) < 40 * 16_000


def test_texts_are_views_of_the_records_own_bytes() -> None:
    """Nothing is copied on the way to polars; they live as long as a column does."""
    codec = codec_of("string")
    long = "a text of more than twelve bytes"
    values = [encoded(codec, record(long + str(at), after="")) for at in range(100)]
    packed = Packed.of(values)
    column = codec.decode(packed).columns["x"]
    begin = packed.data.ctypes.data
    assert column.buffers()[-1].address == begin
    series = pl.DataFrame(pa.RecordBatch.from_arrays([column], names=["x"]))["x"]
    shown = series.to_arrow(compat_level=pl.CompatLevel.newest())
    assert begin in [one.address for one in shown.buffers() if one is not None]
    assert column.buffers()[1].address in [
        one.address for one in shown.buffers() if one is not None
    ]
    del packed, values, column, shown
    gc.collect()
    overwritten = [bytes([7]) * 6_000 for _ in range(100)]
    assert series.to_list() == [long + str(at) for at in range(100)]
    assert overwritten


@pytest.mark.parametrize("size", range(15))
def test_a_text_at_the_very_end_of_a_batch_is_read(size: int) -> None:
    """Where fewer bytes follow than a view can hold, no byte behind them is read."""
    codec = codec_of("string")
    text = "Łódź-0123456789"[:size]
    assert same(codec, [encoded(codec, record("", after=text))]).to_pylist() == [""]
    assert same(codec, [encoded(codec, record(text))]).to_pylist() == [text]


@pytest.mark.parametrize("number", [0, 1, -1, 255, -256, 10**38 - 1, 1 - 10**38])
@pytest.mark.parametrize("size", [0, 16, 17, 40])
def test_decimals_of_any_length_are_read(number: int, size: int) -> None:
    """A number may be written in more bytes than it needs, or than a column has."""
    codec = codec_of(BYTES_DECIMAL)
    size = max(size, (number.bit_length() + 8) // 8)
    raw = number.to_bytes(size, "big", signed=True)
    whole = bytes(FRAME) + varint(0) + varint(len(raw)) + raw + varint(0)
    assert same(codec, [whole]).to_pylist() == [Decimal(number)]


@pytest.mark.parametrize("number", [10**38, -(10**38), 2**127 - 1, -(2**127), 2**128])
def test_decimals_of_too_many_digits_are_refused(number: int) -> None:
    """As the strict reader does it, also where they have no place in a column."""
    codec = codec_of(BYTES_DECIMAL)
    raw = number.to_bytes(17, "big", signed=True)
    whole = bytes(FRAME) + varint(0) + varint(len(raw)) + raw + varint(0)
    assert not len(same(codec, [whole]))


def test_symbols_and_texts_share_a_column() -> None:
    """Long symbols, short ones and texts of one union stand beside each other."""
    long = "A_SYMBOL_OF_MORE_THAN_TWELVE_BYTES"
    symbols = {"type": "enum", "name": "E", "symbols": ["A", long, f"{long}_TOO"]}
    codec = codec_of(["null", "string", symbols])
    texts = [long, None, ("E", f"{long}_TOO"), ("E", "A"), "b", ("E", long)]
    found = same(codec, [encoded(codec, record(text)) for text in texts])
    assert found.to_pylist() == [long, None, f"{long}_TOO", "A", "b", long]


def test_the_kernel_is_compiled_once() -> None:
    """Whatever the schema and the records' memory, no batch waits for a compiler."""
    warm()
    codec = codec_of(LISTS)
    writable = Packed.of(codec.sample())
    writable.data = writable.data.copy()
    for records in ([], codec.sample(), writable):
        codec.decode(records)
    dispatcher: Any = columns_kernel.decode
    assert len(dispatcher.signatures) == 1


def test_the_strict_reader_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the kernel refuses in error is an event all the same."""
    codec = codec_of("long")
    records = codec.sample()
    expected = pl.DataFrame(codec.decode(records).columns)
    decode = Columns.decode

    def refusing(
        self: Columns, packed: Packed
    ) -> tuple[NDArray[np.bool_], pa.RecordBatch]:
        fits, _ = decode(self, packed)
        fits[3] = False
        return fits, decode(self, packed.take(np.flatnonzero(fits)))[1]

    monkeypatch.setattr(Columns, "decode", refusing)
    found = codec.decode(records)
    assert found.rows.tolist() == list(range(len(records)))
    assert pl.DataFrame(found.columns).equals(expected)


def test_more_bytes_than_views_can_name_go_the_safe_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A view has 31 bits for a place; a batch beyond that is read all the same."""
    codec = codec_of("string")
    expected = pl.DataFrame(codec.decode(codec.sample()).columns)
    monkeypatch.setattr(codecs, "MOST_BYTES", 10)
    found = codec.decode(codec.sample()).columns
    assert found.schema == codec.schema
    assert pl.DataFrame(found).equals(expected)


def test_a_record_of_nothing_keeps_its_rows() -> None:
    """Without a column there are still as many rows as records."""
    codec = Codec(json.dumps({"type": "record", "name": "R", "fields": []}))
    found = codec.decode([bytes(FRAME)] * 3)
    assert (found.columns.num_rows, found.rows.tolist()) == (3, [0, 1, 2])
