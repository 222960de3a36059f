"""A batch of several versions of a schema is mapped as one."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.config.settings import Settings
from consumer.events.decode import Decoder
from consumer.events.framing import Prefix
from consumer.events.mapping import Mapper
from consumer.events.schemas import SchemaFolder
from consumer.frames import Records, Verdicts
from consumer.plan.compile import compile_plan
from tests.property.budget import examples

if TYPE_CHECKING:
    from consumer.frames import DeadLetter, Events
    from consumer.plan.compile import Plan

OLD, RENAMED, NEWEST, LACKING, MISSING = 1, 2, 9, 4, 5
TIME = {"type": "long", "logicalType": "timestamp-millis"}


def version(total: dict[str, Any], *more: dict[str, Any], **item: Any) -> Any:  # noqa: ANN401 - Avro
    """Make a version of the schema, with its amount and with its line items."""
    inner = [{"name": name, "type": kind} for name, kind in item.items()]
    line = {"type": "record", "name": "Line", "fields": inner}
    return {
        "type": "record",
        "name": "Purchase",
        "fields": [
            total,
            {"name": "event_id", "type": "string"},
            *more,
            {"name": "visitor_id", "type": ["null", "string"]},
            {"name": "occurred_at", "type": TIME},
            {"name": "items", "type": {"type": "array", "items": line}},
        ],
    }


NOTE = {"name": "note", "type": ["null", "string"], "default": None}
TOTAL = {"name": "total", "type": ["string", "long"], "aliases": ["amount"]}
SCHEMAS = {
    OLD: version({"name": "amount", "type": "string"}, sku="string", quantity="int"),
    RENAMED: version(
        {"name": "total", "type": "string"}, quantity="long", sku=["null", "string"]
    ),
    NEWEST: version(TOTAL, NOTE, sku="string", quantity="int", colour="string"),
    LACKING: version({"name": "other", "type": "long"}, sku="string", quantity="int"),
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "revenue": {"aggregate": "sum", "of": "CAST(total.string AS BIGINT)"},
    "last_note": {"aggregate": "last", "of": "note"},
    "skus": {"aggregate": "top", "from": "items", "of": "sku", "by": "quantity"},
}


@pytest.fixture(scope="module", name="schemas")
def _schemas(tmp_path_factory: pytest.TempPathFactory) -> SchemaFolder:
    folder = tmp_path_factory.mktemp("schemas")
    for number, schema in SCHEMAS.items():
        (folder / f"{number}.avsc").write_text(json.dumps(schema))
    return SchemaFolder(folder, Prefix())


@pytest.fixture(scope="module", name="plan")
def _plan(schemas: SchemaFolder) -> Plan:
    settings = Settings.model_validate(
        {
            "purchases": {
                "topic": "p",
                "where": "event_id <> 'filtered'",
                "fields": {"items": "items"},
            },
            "target": {"client": "c"},
            "attributes": ATTRIBUTES,
        }
    )
    return compile_plan(settings, schemas.newest()[1].sample_frame())


def record(number: int, schema_id: int, **changes: Any) -> bytes:  # noqa: ANN401 - Avro
    """Write a record by a version of the schema."""
    lines = [
        {"sku": f"s{number % 3}", "quantity": place + 1, "colour": "red"}
        for place in range(number % 3)
    ]
    datum = {
        "event_id": f"e{number}",
        "visitor_id": "ann",
        "occurred_at": 1_000 * number,
        "note": f"note {number}",
        "total": "7",
        "amount": "7",
        "other": 7,
        "items": lines,
        **changes,
    }
    schema = fastavro.parse_schema(SCHEMAS.get(schema_id, SCHEMAS[NEWEST]))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, datum)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def decoded(decoder: Decoder, values: list[bytes]) -> tuple[Events | None, Verdicts]:
    """Decode a batch."""
    count, verdicts = len(values), Verdicts.of(len(values))
    records = Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        [b"ann"] * count,
        values,
    )
    return decoder.decode(records, verdicts), verdicts


def rows(events: Events | None) -> list[Any]:
    """Give each event with its items, as rows."""
    if events is None:
        return []
    found = zip(events.identity.rows(), events.operands.rows(), strict=True)
    lines: dict[int, list[Any]] = {}
    assert events.items is not None
    owners, index = events.items.events.tolist(), events.items.index.tolist()
    for owner, place, row in zip(
        owners, index, events.items.operands.rows(), strict=True
    ):
        lines.setdefault(owner, []).append((place, row))
    return [(*row, lines.get(place, [])) for place, row in enumerate(found)]


def test_it_is_mapped_once_however_many_versions_there_are(
    schemas: SchemaFolder, plan: Plan
) -> None:
    """Mapping has a fixed cost, which three versions would pay three times."""
    runs: list[Events] = []
    decoder = Decoder(schemas, Mapper(plan, watch=runs.append))
    ids = [OLD, NEWEST, RENAMED] * 20
    values = [record(number, one) for number, one in enumerate(ids)]
    events, verdicts = decoded(decoder, values)
    assert events is not None
    assert events.records.tolist() == [*range(60)]
    assert not verdicts.dead_letters
    assert [len(one) for one in runs] == [60]


SPOILED: tuple[dict[str, Any], ...] = (
    {"event_id": "filtered"},
    {"visitor_id": None},
    {"visitor_id": "a/b"},
    {"total": "seven", "amount": "seven"},
    {"total": str(2**61), "amount": str(2**61)},
)


@examples(30)
@given(
    drawn=st.lists(
        st.tuples(
            st.sampled_from([OLD, RENAMED, NEWEST, LACKING, MISSING]),
            st.just({}) | st.just({}) | st.sampled_from(SPOILED),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_each_record_becomes_what_it_would_alone(
    schemas: SchemaFolder, plan: Plan, drawn: list[tuple[int, dict[str, Any], bool]]
) -> None:
    """Whatever stands beside it: its event, its reason and the schema it names."""
    decoder = Decoder(schemas, Mapper(plan))
    values = [
        record(number, one, **changes) + b"\0" * is_long
        for number, (one, changes, is_long) in enumerate(drawn)
    ]
    events, verdicts = decoded(decoder, values)
    alone = [decoded(decoder, [value]) for value in values]
    assert rows(events) == [row for one, _ in alone for row in rows(one)]
    told: list[DeadLetter] = [
        replace(letter, row=number)
        for number, (_, one) in enumerate(alone)
        for letter in one.dead_letters
    ]
    assert sorted(verdicts.dead_letters, key=lambda one: one.row) == told
    assert verdicts.outcomes.tolist() == [int(one.outcomes[0]) for _, one in alone]
