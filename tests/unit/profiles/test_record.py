"""Profile records: framing, schemas old and new."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest

from consumer.config import Settings
from consumer.errors import PartitionHalt
from consumer.plan.compile import compile_plan
from consumer.profiles.record import (
    FRAME,
    ProfileCodec,
    ProfileSchema,
    fingerprint_id,
    schema_ids,
)

FRAME_OF_EVENTS = pl.DataFrame(
    {
        "event_id": ["a"],
        "visitor_id": ["x"],
        "occurred_at": pl.Series([0]).cast(pl.Datetime("ms")),
        "store": ["S"],
    }
)
HEADER = {
    "visitor": "ann",
    "version": 3,
    "generation": 1,
    "source_partition": 2,
    "source_offset": 77,
    "as_of_day": 0,
    "active_day": 0,
    "erased_at": 0,
}
ORDERS = {"total": 5, "weight": 5}
TOP = [{"key": "", "weight": -1}, {"key": "ä", "weight": 2**63 - 1}]


def schema_of(*names: str) -> ProfileSchema:
    """Make the schema of some attributes."""
    known = {
        "orders": {"aggregate": "count"},
        "stores": {"aggregate": "top", "of": "store"},
        "last": {"aggregate": "last", "of": "store"},
    }
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {name: known[name] for name in names},
        }
    )
    return ProfileSchema.of(compile_plan(settings, FRAME_OF_EVENTS))


def profiles(codec: ProfileCodec, **states: Any) -> pa.RecordBatch:  # noqa: ANN401 - states
    """Make a batch of one profile."""
    return pa.RecordBatch.from_pylist([{**HEADER, **states}], schema=codec.schema)


PATTERNS = [
    -1,
    -(2**31),
    2**31 - 1,
    0,
    # The framing is carried as a float: its bytes may say infinity or NaN.
    int.from_bytes(struct.pack("<f", float("nan")), "big", signed=True),
    int.from_bytes(struct.pack("<f", float("-inf")), "big", signed=True),
    int.from_bytes(b"\x01\x00\x80\x7f", "big", signed=True),
    int.from_bytes(b"\x01\x00\x80\xff", "big", signed=True),
    int.from_bytes(b"\xff\xff\xbf\x7f", "big", signed=True),
]


@pytest.mark.parametrize("schema_id", PATTERNS)
def test_every_schema_id_survives_its_framing(schema_id: int) -> None:
    """Four bytes of id are these bytes, also where they look like no number."""
    codec = ProfileCodec(ProfileSchema(schema_of("orders").text, schema_id))
    (record,) = codec.encode(profiles(codec, orders=ORDERS))
    assert record[:FRAME] == b"\0" + schema_id.to_bytes(4, "big", signed=True)
    assert schema_ids([record]).tolist() == [schema_id]
    assert codec.decode([record]).to_pylist() == [{**HEADER, "orders": ORDERS}]


def test_other_tools_can_read_a_record() -> None:
    """Behind the framing a record is plain Avro of the schema's text."""
    schema = schema_of("orders", "stores", "last")
    codec = ProfileCodec(schema)
    last = {"value": None, "time": 0, "event": "", "item": 0}
    states = {"orders": ORDERS, "stores": TOP, "last": last}
    (record,) = codec.encode(profiles(codec, **states))
    stream = io.BytesIO(record[FRAME:])
    parsed = fastavro.parse_schema(json.loads(schema.text))
    assert fastavro.schemaless_reader(stream, parsed) == {**HEADER, **states}
    assert stream.read() == b""


def test_records_of_older_schemas_are_read_beside_new_ones() -> None:
    """What an older schema lacks is null, what a newer one dropped is left out."""
    old, new = schema_of("orders", "last"), schema_of("orders", "stores")
    writer, reader = ProfileCodec(old), ProfileCodec(new)
    reader.learn({old.schema_id: old.text})
    last = {"value": "x", "time": -5, "event": "e", "item": 1}
    (before,) = writer.encode(profiles(writer, orders=ORDERS, last=last))
    (after,) = reader.encode(profiles(reader, orders=ORDERS, stores=TOP))
    read_old = {**HEADER, "orders": ORDERS, "stores": None}
    read_new = {**HEADER, "orders": ORDERS, "stores": TOP}
    assert reader.decode([before]).to_pylist() == [read_old]
    mixed = reader.decode([before, after, before, after])
    assert mixed.to_pylist() == [read_old, read_new, read_old, read_new]


def test_a_record_of_an_unknown_schema_is_not_guessed() -> None:
    """The unknown id is named."""
    writer, reader = ProfileCodec(schema_of("orders")), ProfileCodec(schema_of("last"))
    records = writer.encode(profiles(writer, orders=ORDERS))
    with pytest.raises(PartitionHalt, match=str(writer.current.schema_id)):
        reader.decode(records)


def test_no_records_are_no_rows() -> None:
    """An empty list decodes to empty columns and encodes to no records."""
    codec = ProfileCodec(schema_of("orders"))
    assert codec.decode([]).num_rows == 0
    assert codec.decode([]).schema.names == codec.schema.names
    assert codec.encode(codec.decode([])) == []


def test_the_schema_does_not_depend_on_the_order_of_attributes() -> None:
    """Two configurations with the same attributes have one schema."""
    one, other = schema_of("orders", "stores"), schema_of("stores", "orders")
    assert one == other
    assert one.names == (*HEADER, "orders", "stores")
    assert one.schema_id == fingerprint_id(one.text) < 0
    assert one.schema_id != schema_of("orders").schema_id


def test_a_state_from_before_its_attribute_began_is_read_as_nothing() -> None:
    """Another attribute had that name: by generation, and where it had another type."""
    codec = ProfileCodec(schema_of("orders", "last"))
    last = {"value": "x", "time": 0, "event": "e", "item": 0}
    old = profiles(codec, orders=ORDERS, last=last)
    new = pa.RecordBatch.from_pylist(
        [{**HEADER, "generation": 2, "orders": ORDERS, "last": last}],
        schema=codec.schema,
    )
    records = [*codec.encode(old), *codec.encode(new)]
    codec.begin(2, {"orders": 2, "last": 1})
    read = codec.decode(records).to_pylist()
    assert [one["orders"] for one in read] == [None, ORDERS]
    assert [one["last"] for one in read] == [last, last]

    other = json.loads(schema_of("orders").text)
    other["fields"][-1]["type"] = "string"
    text = json.dumps(other)
    writer = ProfileCodec(ProfileSchema(text, fingerprint_id(text)))
    codec.learn({writer.current.schema_id: text})
    (taken,) = writer.encode(profiles(writer, orders="a string"))
    assert codec.decode([taken]).to_pylist()[0]["orders"] is None


def test_marks_are_words_and_no_other_schema() -> None:
    """Where an attribute began stands in the schema's docs; its id stays."""
    plain = schema_of("orders")
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    plan = compile_plan(settings, FRAME_OF_EVENTS)
    marked = ProfileSchema.of(plan, {"orders": "counts since generation 2"})
    assert marked.schema_id == plain.schema_id
    doc = json.loads(marked.text)["fields"][-1]["doc"]
    assert doc.endswith("; counts since generation 2")
