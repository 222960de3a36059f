"""Decoding: the fast and the safe way agree, and poison costs only itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SchemaError
from consumer.events.codecs import LARGEST_RECORD, Codec
from consumer.events.framing import FRAME
from consumer.events.resolve import WHOLE, resolution
from consumer.events.views import without_views
from tests.property.budget import examples

PURCHASE = Path("schemas/purchase.avsc").read_text(encoding="utf-8")
LOGICAL_FIXED = {"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}
DECIMAL = {"logicalType": "decimal", "precision": 10, "scale": 2}
NESTED = {
    "type": "record",
    "name": "N",
    "fields": [
        {"name": "a", "type": ["null", "long"]},
        {"name": "b", "type": {"type": "array", "items": ["string", "null"]}},
    ],
}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"], "default": "C"}


def logical(name: str, kind: str) -> dict[str, str]:
    """Name a logical type."""
    return {"type": kind, "logicalType": name}


def array(items: Any) -> dict[str, Any]:  # noqa: ANN401 - an Avro type
    """Name an array."""
    return {"type": "array", "items": items}


FAST: dict[str, tuple[Any, pa.DataType]] = {
    "null": ("null", pa.null()),
    "boolean": ("boolean", pa.bool_()),
    "int": ("int", pa.int64()),
    "int as a type": ({"type": "int"}, pa.int64()),
    "long": ("long", pa.int64()),
    "float": ("float", pa.float32()),
    "double": ("double", pa.float64()),
    "string": ("string", pa.string()),
    "enum": (ENUM, pa.string()),
    "date": (logical("date", "int"), pa.date32()),
    "millis": (logical("timestamp-millis", "long"), pa.timestamp("ms")),
    "micros": (logical("timestamp-micros", "long"), pa.timestamp("us")),
    "local": (logical("local-timestamp-micros", "long"), pa.timestamp("us")),
    "uuid": (logical("uuid", "string"), pa.string()),
    "unknown logical type": (logical("made-up", "long"), pa.int64()),
    "null first": (["null", "string"], pa.string()),
    "null last": (["string", "null"], pa.string()),
    "nullable enum": (["null", ENUM], pa.string()),
    "array": (array("string"), pa.list_(pa.string())),
    "array of unions": (array(["null", "int"]), pa.list_(pa.int64())),
    "array of arrays": (array(array("long")), pa.list_(pa.list_(pa.int64()))),
    "record": (
        NESTED,
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
    ),
    "array of nullable records": (
        array(["null", NESTED]),
        pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
    ),
    "map": ({"type": "map", "values": "long"}, pa.map_(pa.string(), pa.int64())),
    "bytes": ("bytes", pa.binary()),
    "fixed": ({"type": "fixed", "name": "F", "size": 12}, pa.binary()),
    "odd fixed": ({"type": "fixed", "name": "F", "size": 7}, pa.binary()),
    "fixed to nothing": ({"type": "fixed", "name": "F", "size": 0}, pa.binary()),
    "uuid in bytes": (LOGICAL_FIXED, pa.string()),
    "decimal": ({"type": "bytes", **DECIMAL}, pa.decimal128(10, 2)),
    "fixed decimal": (
        {"type": "fixed", "name": "F", "size": 8, **DECIMAL},
        pa.decimal128(10, 2),
    ),
    "odd fixed decimal": (
        {"type": "fixed", "name": "F", "size": 5, **DECIMAL},
        pa.decimal128(10, 2),
    ),
    "time": (logical("time-millis", "int"), pa.time32("ms")),
    "time in micros": (logical("time-micros", "long"), pa.time64("us")),
    "nullable decimal": (["null", {"type": "bytes", **DECIMAL}], pa.decimal128(10, 2)),
    "map of decimals": (
        {"type": "map", "values": {"type": "bytes", **DECIMAL}},
        pa.map_(pa.string(), pa.decimal128(10, 2)),
    ),
    "union": (
        ["null", "string", "long"],
        pa.struct([("string", pa.string()), ("long", pa.int64())]),
    ),
    "union of what is read alike": (["int", "null", "long"], pa.int64()),
    "union of floats": (["float", "null", "double"], pa.float64()),
    "text or enum": (["string", "null", ENUM], pa.string()),
    "union of one": (["string"], pa.string()),
    "empty record": ({"type": "record", "name": "Z", "fields": []}, pa.struct([])),
    "array of unions of records": (
        array([NESTED, {**NESTED, "name": "M", "fields": NESTED["fields"][:1]}]),
        pa.list_(
            pa.struct(
                [
                    ("N", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
                    ("M", pa.struct([("a", pa.int64())])),
                ]
            )
        ),
    ),
}
UUID_OR_TEXT = ["null", "string", LOGICAL_FIXED]
SAFE: dict[str, tuple[Any, pa.DataType]] = {
    "a UUID or a text": (UUID_OR_TEXT, pa.string()),
    "records of a UUID or a text": (
        [
            {"type": "record", "name": name, "fields": [{"name": "u", "type": kind}]}
            for name, kind in (("N", "string"), ("M", LOGICAL_FIXED))
        ],
        pa.struct([("u", pa.string())]),
    ),
}


def schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - an Avro type
    """Put a type between two texts."""
    fields = [("before", "string"), ("x", kind), ("after", "string")]
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": one} for name, one in fields],
    }


def codec_of(kind: Any) -> Codec:  # noqa: ANN401 - an Avro type
    """Make the codec of a record with that type."""
    return Codec(json.dumps(schema_of(kind)))


def encoded(codec: Codec, datum: dict[str, Any]) -> bytes:
    """Write a framed record."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, codec._parsed, datum)
    return bytes(FRAME) + out.getvalue()


@pytest.mark.parametrize("kind", FAST)
def test_the_fast_codec_serves_common_types(kind: str) -> None:
    """Common types are decoded fast, to the very columns that the safe way gives."""
    avro, arrow = FAST[kind]
    codec = codec_of(avro)
    assert codec.fast
    check_sample(codec, arrow)


@pytest.mark.parametrize("kind", SAFE)
def test_other_types_go_the_safe_way(kind: str) -> None:
    """Types that the fast codec cannot do are decoded all the same."""
    avro, arrow = SAFE[kind]
    codec = codec_of(avro)
    assert not codec.fast
    check_sample(codec, arrow)


def check_sample(codec: Codec, arrow: pa.DataType) -> None:
    """Decode the sample both ways and compare."""
    records = codec.sample()
    decoded = codec.decode(records)
    rows = np.arange(len(records))
    assert not decoded.refusals
    assert decoded.rows.tolist() == rows.tolist()
    found = without_views(decoded.columns.to_struct_array())
    assert found.type.field("x").type == arrow
    assert found.equals(codec._decode_safe(records, rows).columns.to_struct_array())
    assert codec.sample_frame().height == len(records)


WIDE = {"name": "W", "fields": [{"name": f"f{i}", "type": "long"} for i in range(99)]}
BOMB: Any = "long"
for _level in range(20):
    BOMB = {
        "type": "record",
        "name": f"B{_level}",
        "fields": [
            {"name": "a", "type": BOMB},
            {"name": "b", "type": f"B{_level - 1}" if _level else "long"},
        ],
    }
DEEP: Any = "long"
for _level in range(40):
    DEEP = {
        "type": "record",
        "name": f"D{_level}",
        "fields": [{"name": "a", "type": DEEP}],
    }
LISTS: Any = "long"
for _level in range(10):
    LISTS = array(LISTS)
REFUSED: dict[str, Any] = {
    "a union of null alone": ["null"],
    "itself": ["null", "R"],
    "an array of itself": array("R"),
    "an array of nothing": array("null"),
    "an array of empty records": array({"type": "record", "name": "Z", "fields": []}),
    "an array of fixed to nothing": array({"type": "fixed", "name": "Z", "size": 0}),
    "a fixed of a gigabyte": {"type": "fixed", "name": "Z", "size": 10**9},
    "a record that unfolds into a million": BOMB,
    "records in records": DEEP,
    "lists in lists": LISTS,
    "a decimal that is all fraction": {"type": "bytes", **DECIMAL, "scale": 11},
    "two branches of one name": [
        {
            "type": "record",
            "name": f"{space}.A",
            "fields": [{"name": "x", "type": kind}],
        }
        for space, kind in (("a", "long"), ("b", "string"))
    ],
    "a decimal of 39 digits": {"type": "bytes", **DECIMAL, "precision": 39},
    "an unknown type": "money",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_types_without_a_column_are_refused(kind: str) -> None:
    """A type that cannot be a column is one clear error, whatever uses it."""
    with pytest.raises(SchemaError):
        codec_of(REFUSED[kind])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "[" * 100_000,
        '"' + "a" * 2_000_000 + '"',
        '"string"',
        '["null"]',
        "7",
    ],
)
def test_what_is_no_record_schema_is_refused(text: str) -> None:
    """Anything but an Avro record schema is one clear error."""
    with pytest.raises(SchemaError):
        Codec(text)


def test_fields_named_like_our_own_are_read() -> None:
    """A schema may use the names that the framing uses."""
    names = ["_id", "_magic"]
    fields = [{"name": name, "type": "string"} for name in names]
    codec = Codec(json.dumps({"type": "record", "name": "R", "fields": fields}))
    datum = {name: name for name in names}
    assert codec.decode([encoded(codec, datum)]).columns.to_pylist() == [datum]


def test_an_int_is_read_as_a_long() -> None:
    """A number too large for its int is that number, never another."""
    codec = codec_of("int")
    wide = codec_of("long")
    record = encoded(wide, {"before": "", "x": 2**40, "after": ""})
    assert codec.decode([record]).columns["x"].to_pylist() == [2**40]


@pytest.fixture(scope="module", name="codec")
def _codec() -> Codec:
    return Codec(PURCHASE)


def test_purchases_go_the_fast_way(codec: Codec) -> None:
    """The schema that the sandbox produces is served fast."""
    assert codec.fast


@pytest.mark.parametrize("place", [0, 5, 7])
def test_a_record_cut_short_anywhere_is_no_event(codec: Codec, place: int) -> None:
    """Cut at every byte, a record is refused, and its neighbours are not."""
    good = codec.sample()
    whole = good[place]
    cuts = [whole[:length] for length in range(FRAME, len(whole))]
    decoded = codec.decode([good[1], *cuts, good[2]])
    assert decoded.rows.tolist() == [0, len(cuts) + 1]
    assert decoded.columns.equals(codec.decode([good[1], good[2]]).columns)
    assert [one.row for one in decoded.refusals] == list(range(1, len(cuts) + 1))
    assert {one.reason for one in decoded.refusals} == {"undecodable"}
    for cut in cuts:
        assert not len(codec.decode([cut]).rows)


TRAILERS = [
    *(bytes([value]) * size for value in (0, 1, 2, 255) for size in (1, 2, 5, 24, 88)),
    b"\x02\x00\x02",
    b"\x00" * 23 + b"\x02",
    b"\n",
]


def test_trailing_bytes_are_never_an_event(codec: Codec) -> None:
    """Bytes behind a record refuse it, whatever they are, and say how many."""
    good = codec.sample()
    batch = [good[2], *(good[1] + trailer for trailer in TRAILERS), good[3]]
    decoded = codec.decode(batch)
    assert decoded.rows.tolist() == [0, len(batch) - 1]
    assert {one.reason for one in decoded.refusals} == {"trailing_bytes"}
    expected = [f"{len(trailer)} bytes follow the record." for trailer in TRAILERS]
    assert [one.sentence for one in decoded.refusals] == expected


def test_a_record_that_grows_beyond_measure_is_refused_unread() -> None:
    """Where a byte may fill a hundred columns, a record may have fewer bytes."""
    codec = codec_of(array(["null", {"type": "record", **WIDE}]))
    assert codec.fast
    many = 500_000
    nulls = bytes(FRAME) + varint(0) + varint(many) + bytes(many + 1) + varint(0)
    good = codec.sample()
    decoded = codec.decode([good[1], nulls, good[2], good[3][:-1]])
    assert [(one.row, one.reason) for one in decoded.refusals] == [
        (1, "too_large"),
        (3, "undecodable"),
    ]
    assert decoded.rows.tolist() == [0, 2]
    assert codec_of("long").largest == LARGEST_RECORD


def test_a_dead_letter_says_where_it_went_wrong() -> None:
    """The path leads to the value, through lists, and the rest is not looked at."""
    codec = codec_of(array(NESTED))
    item = varint(0) + varint(1) + varint(0) + varint(1) + b"\xff" + varint(0)
    record = bytes(FRAME) + varint(0) + varint(2) + varint(0) * 2 + item
    (refusal,) = codec.decode([record]).refusals
    assert "x.[1].b.[0]: a text that is not UTF-8" in refusal.sentence


def varint(number: int) -> bytes:
    """Write a zigzag number."""
    left = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    out = bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


LETTER = {
    "type": "record",
    "name": "L",
    "fields": [
        {"name": "a", "type": "string"},
        {"name": "b", "type": {"type": "fixed", "name": "F", "size": 1}},
    ],
}
WRONG: dict[str, tuple[Any, bytes]] = {
    "a boolean of 2": ("boolean", b"\x02"),
    "a boolean of 255": ("boolean", b"\xff"),
    "an enum beyond its symbols": (ENUM, varint(3)),
    "an enum before its symbols": (ENUM, varint(-1)),
    "a union beyond its branches": (["null", "string"], varint(2)),
    "a union before its branches": (["string", "null"], varint(-1)),
    "a text of negative length": ("string", varint(-1)),
    "a text of a terabyte": ("string", varint(2**40)),
    "a text of all bytes": ("string", varint(2**62)),
    "text that is not UTF-8": ("string", varint(1) + b"\xff"),
    "a long text that is not UTF-8": ("string", varint(20) + b"a" * 19 + b"\xff"),
    "a wrong byte among eight": ("string", varint(16) + b"a" * 7 + b"\xff" + b"a" * 8),
    "a letter that the next field ends": (LETTER, varint(1) + b"\xc3" + b"\xa9"),
    "half a surrogate": ("string", varint(3) + b"\xed\xa0\x80"),
    "a number of eleven bytes": ("long", b"\xff" * 10 + b"\x01"),
    "a number of 65 bits": ("long", b"\xff" * 9 + b"\x03"),
    "a zero in two bytes": ("long", b"\x80\x00"),
    "a length in two bytes": ("string", b"\x82\x00a"),
    "a branch in three bytes": (["null", "string"], b"\x80\x80\x00"),
    "a symbol in ten bytes": (ENUM, b"\x82" + b"\x80" * 8 + b"\x00"),
    "a count in two bytes": (array("long"), b"\x82\x00\x02\x00"),
    "an end of a list in two bytes": (array("long"), b"\x80\x00"),
    "an array of a terabyte": (array("long"), varint(2**40)),
    "an array of everything": (array("string"), varint(2**62)),
    "an array of minus everything": (array("long"), varint(-(2**63)) + b"\x02"),
    "an array without its end": (array("long"), varint(1) + varint(5)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_malformed_values_are_never_events(kind: str) -> None:
    """What no encoder writes is refused alone, and takes nothing down."""
    avro, body = WRONG[kind]
    codec = codec_of(avro)
    good = codec.sample()
    bad = bytes(FRAME) + varint(1) + b"a" + body + varint(1) + b"z"
    decoded = codec.decode([*good, bad, *good])
    assert [one.row for one in decoded.refusals] == [len(good)]
    assert len(decoded.rows) == 2 * len(good)


def test_blocks_that_an_encoder_may_write_are_read() -> None:
    """Arrays in several blocks, or with their size in bytes, are the same arrays."""
    codec = codec_of(array("long"))
    begin, end = bytes(FRAME) + varint(0), varint(0) + varint(0)
    blocks = varint(1) + varint(5) + varint(1) + varint(6)
    sized = varint(-2) + varint(2) + varint(5) + varint(6)
    decoded = codec.decode([begin + blocks + end, begin + sized + end, b"\0" * 6])
    assert decoded.columns["x"].to_pylist()[:2] == [[5, 6], [5, 6]]
    assert [one.row for one in decoded.refusals] == [2]


@pytest.mark.parametrize("millis", [2**53, -(2**60), 253_402_300_800_000])
def test_what_becomes_of_a_record_does_not_depend_on_its_neighbours(
    millis: int,
) -> None:
    """A value that only the fast codec takes is taken beside poison, too."""
    codec = codec_of(logical("timestamp-millis", "long"))
    record = bytes(FRAME) + varint(0) + varint(millis) + varint(0)
    poison = bytes(FRAME) + varint(-5)
    alone, beside = codec.decode([record]), codec.decode([poison, record, poison])
    assert alone.rows.tolist() == [0]
    assert beside.rows.tolist() == [1]
    assert beside.columns.equals(alone.columns)


@examples(60)
@given(data=st.data())
def test_broken_records_never_cross_over(codec: Codec, data: st.DataObject) -> None:
    """Whatever bytes a record has, the sound ones beside it come back unchanged."""
    good = codec.sample()
    batch, sound = [], []
    for place in range(data.draw(st.integers(1, 20))):
        record = good[place % len(good)]
        if data.draw(st.booleans()):
            sound.append(place)
        else:
            body = bytearray(record)
            at = data.draw(st.integers(FRAME, len(body) - 1))
            body[at:] = data.draw(st.binary(max_size=40))
            record = bytes(body)
        batch.append(record)
    decoded = codec.decode(batch)
    refused = [one.row for one in decoded.refusals]
    assert sorted([*decoded.rows.tolist(), *refused]) == list(range(len(batch)))
    assert set(sound) <= set(decoded.rows.tolist())
    whole = codec.decode([batch[row] for row in sound]).columns
    places = [decoded.rows.tolist().index(row) for row in sound]
    assert pl.DataFrame(decoded.columns)[places].equals(pl.DataFrame(whole))
    for row in range(len(batch)):
        assert bool(len(codec.decode([batch[row]]).rows)) == (row not in refused)


def test_no_records_are_no_columns(codec: Codec) -> None:
    """An empty batch gives empty columns of the same types."""
    decoded = codec.decode([])
    assert (decoded.columns.num_rows, decoded.refusals) == (0, [])
    assert decoded.columns.schema.names == codec.schema.names


@pytest.mark.parametrize("fast", [True, False])
def test_null_in_a_union_is_null_whichever_codec_read_it(*, fast: bool) -> None:
    """Also where one of the branches alone is expected; another one is flagged."""
    expected, written = (
        codec_of(["null", "string"]),
        codec_of(["null", "string", "long"]),
    )
    written.fast = fast
    values = [None, "a", None, 3]
    records = [
        encoded(written, {"before": "", "x": value, "after": ""}) for value in values
    ]
    step = resolution(expected.type, written.type, WHOLE)
    columns, bad = step.apply(written.decode(records).columns)
    assert columns.to_pydict()["x"] == [None, "a", None, None]
    assert bad.tolist() == [False, False, False, True]
