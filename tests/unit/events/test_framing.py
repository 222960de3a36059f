"""Where records say their schema: in front, in a header, or nowhere."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import numpy as np
import pytest
from confluent_kafka.schema_registry.common.serde import SchemaId as ConfluentId

from consumer.config.settings import Settings
from consumer.events.codecs import Codec
from consumer.events.decode import Decoder
from consumer.events.framing import HEADER, Header
from consumer.events.json_codec import JsonCodec
from consumer.events.mapping import Mapper
from consumer.events.schemas import OneSchema, SchemaFolder
from consumer.frames import Outcome, Records, Verdicts
from consumer.plan.compile import compile_plan

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.events.decode import Schemas

GUID = UUID("0b7f9f3a-1c1e-4d3c-9a55-5a9f6a1b2c3d")
FIELDS: list[dict[str, Any]] = [
    {"name": "event_id", "type": "string"},
    {"name": "visitor_id", "type": ["null", "string"]},
    {
        "name": "occurred_at",
        "type": {"type": "long", "logicalType": "timestamp-millis"},
    },
]
SCHEMA = json.dumps({"type": "record", "name": "R", "fields": FIELDS})
WIDER = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [{"name": "added", "type": "long"}, *FIELDS],
    }
)


def body(schema: str, number: int) -> bytes:
    """Write an event without framing."""
    out = io.BytesIO()
    datum = {
        "event_id": f"e{number}",
        "visitor_id": "ann",
        "occurred_at": 0,
        "added": 1,
    }
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema)), datum)
    return out.getvalue()


def prefixed(schema_id: int, value: bytes) -> bytes:
    """Put Confluent's framing in front."""
    return b"\0" + schema_id.to_bytes(4, "big") + value


def head(*, schema_id: int | None = None, guid: UUID | None = None) -> bytes:
    """Write the header as Confluent's own client does."""
    text = None if guid is None else str(guid)
    made = ConfluentId("AVRO", schema_id, text)
    return made.guid_to_bytes() if guid else made.id_to_bytes()


def decoded(
    schemas: Schemas,
    values: list[bytes | None],
    headers: list[list[tuple[str, bytes | None]]] | None = None,
) -> tuple[list[int], Verdicts]:
    """Decode records; gives the rows that are events, and the verdicts."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"n": {"aggregate": "count"}},
        }
    )
    plan = compile_plan(settings, schemas.newest()[1].sample_frame())
    count = len(values)
    records = Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        [b"ann"] * count,
        values,
        lambda row: headers[row] if headers else [],
    )
    verdicts = Verdicts.of(count)
    events = Decoder(schemas, Mapper(plan)).decode(records, verdicts)
    return ([] if events is None else events.records.tolist()), verdicts


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "1.avsc").write_text(SCHEMA)
    (tmp_path / "2.avsc").write_text(WIDER)
    (tmp_path / f"{GUID}.avsc").write_text(SCHEMA)
    return tmp_path


def test_a_header_names_the_schema_by_id_or_guid(folder: Path) -> None:
    """The last header counts; without one the first bytes do, as in Confluent's."""
    values: list[bytes | None] = [
        body(SCHEMA, 0),
        body(WIDER, 1),
        body(SCHEMA, 2),
        prefixed(2, body(WIDER, 3)),
        body(SCHEMA, 4),
        None,
        body(SCHEMA, 6),
    ]
    headers: list[list[tuple[str, bytes | None]]] = [
        [("trace", b"x"), (HEADER, head(schema_id=1))],
        [(HEADER, head(schema_id=1)), (HEADER, head(schema_id=2))],
        [(HEADER, head(guid=GUID))],
        [],
        [(HEADER, b"\7what")],
        [(HEADER, head(schema_id=1))],
        [(HEADER, head(guid=UUID(int=7)))],
    ]
    rows, verdicts = decoded(SchemaFolder(folder, Header()), values, headers)
    assert rows == [0, 1, 2, 3]
    reasons = {one.row: one.reason for one in verdicts.dead_letters}
    assert reasons == {4: "bad_magic", 6: "unknown_schema"}
    assert verdicts.outcomes[5] == Outcome.FILTERED


def test_plain_avro_has_one_schema_and_no_framing() -> None:
    """A null value is a tombstone, one of no bytes is empty."""
    schemas = OneSchema(Codec(SCHEMA), "The schema")
    values = [body(SCHEMA, 0), None, b"", body(SCHEMA, 3), prefixed(1, body(SCHEMA, 4))]
    rows, verdicts = decoded(schemas, values)
    assert rows == [0, 3]
    assert verdicts.counts()[Outcome.FILTERED] == 1
    reasons = {one.row: one.reason for one in verdicts.dead_letters}
    assert reasons == {2: "empty", 4: "trailing_bytes"}


def test_json_may_have_the_framing_of_its_serializer() -> None:
    """No JSON begins with a zero byte, so the five bytes are told from the text."""
    columns = {"event_id": "string", "visitor_id": "string", "occurred_at": "timestamp"}
    schemas = OneSchema(JsonCodec(columns), "[purchases.columns]", is_json=True)
    text = b'{"event_id":"e","visitor_id":"ann","occurred_at":"2026-01-31T10:00:00Z"}'
    rows, verdicts = decoded(schemas, [text, prefixed(7, text), b" " + text, b"[]"])
    assert rows == [0, 1, 2]
    assert [one.reason for one in verdicts.dead_letters] == ["undecodable"]


def test_versions_may_be_mixed(folder: Path) -> None:
    """Events come in the order of their records, whatever schema each has."""
    values: list[bytes | None] = [
        prefixed(1 + row % 2, body((SCHEMA, WIDER)[row % 2], row)) for row in range(9)
    ]
    rows, verdicts = decoded(SchemaFolder(folder), values)
    assert rows == list(range(9))
    assert not verdicts.dead_letters
