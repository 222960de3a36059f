"""The tables of docs/events.md: every Avro type and step of evolution, tried out.

`python -m tests.events_table docs/events.md` makes them anew; a test holds the page to
what comes out. A row is decoded and resolved before it is written.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import fastavro
import numpy as np
import polars as pl

from consumer.errors import SchemaError
from consumer.events.codecs import Codec
from consumer.events.framing import FRAME
from consumer.events.resolve import WHOLE, Unfit, resolution
from consumer.events.views import without_views

DECIMAL: Final = {"logicalType": "decimal", "precision": 10, "scale": 2}


def logical(kind: str, name: str) -> dict[str, str]:
    """Name a logical type."""
    return {"type": kind, "logicalType": name}


def record(name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - Avro
    """Name a record."""
    listed = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": listed}


def fixed(size: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - Avro
    """Name a fixed."""
    return {"type": "fixed", "name": "Fixed", "size": size, **more}


def enum(*symbols: str) -> dict[str, Any]:
    """Name an enum."""
    return {"type": "enum", "name": "Kind", "symbols": [*symbols]}


CARD: Final = record("Card", brand="string")
CASH: Final = record("Cash", given="long")
TYPES: Final[dict[str, Any]] = {
    "null": "null",
    "boolean": "boolean",
    "int": "int",
    "long": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
    "fixed": fixed(7),
    "enum": enum("SALE", "RETURN"),
    "array": {"type": "array", "items": "string"},
    "map": {"type": "map", "values": "long"},
    "record": CARD,
    "array of records": {"type": "array", "items": CARD},
    "union of null and one type": ["null", "string"],
    "union of one type alone": ["string"],
    "union of types with the same column": ["null", "int", "long"],
    "union of float and double": ["float", "double"],
    "union of several types": ["null", "string", "long"],
    "union of records": [CARD, CASH],
    "array of unions of records": {"type": "array", "items": [CARD, CASH]},
    "decimal in bytes": {"type": "bytes", **DECIMAL},
    "decimal in a fixed": fixed(5, **DECIMAL),
    "date": logical("int", "date"),
    "time-millis": logical("int", "time-millis"),
    "time-micros": logical("long", "time-micros"),
    "timestamp-millis": logical("long", "timestamp-millis"),
    "timestamp-micros": logical("long", "timestamp-micros"),
    "local-timestamp-millis": logical("long", "local-timestamp-millis"),
    "local-timestamp-micros": logical("long", "local-timestamp-micros"),
    "timestamp-nanos, and unknown logical types": logical("long", "timestamp-nanos"),
    "uuid in a string": logical("string", "uuid"),
    "uuid in a fixed": fixed(16, logicalType="uuid"),
    "union of a string and a uuid in a fixed": [
        "string",
        fixed(16, logicalType="uuid"),
    ],
    "duration": fixed(12, logicalType="duration"),
    "decimal of more than 38 digits": {"type": "bytes", **DECIMAL, "precision": 39},
    "record in itself": ["null", "Record"],
    "array of nothing": {"type": "array", "items": "null"},
}


@dataclass(frozen=True)
class Step:
    """A change: the field that is expected, the one written, what was and is read."""

    expected: Any
    written: Any
    value: Any
    found: Any = None


def field(kind: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - Avro
    """Name the field that changes."""
    return {"name": "x", "type": kind, **more}


NO_FIELD: Final = {"name": "y", "type": "null"}
REFUSED: Final = "refused"
FLAGGED: Final = "flagged"
ITEMS: Final = {"type": "array", "items": record("Item", sku="string", n="int")}
OTHER_ITEMS: Final = {
    "type": "array",
    "items": record("Item", note="string", n="long", sku=["null", "string"]),
}
STEPS: Final[dict[str, Step]] = {
    "a field added, with a default": Step(field("long", default=7), NO_FIELD, None, 7),
    "a field added, null by default": Step(
        field(["null", "string"], default=None), NO_FIELD, None, None
    ),
    "a field added, without a default": Step(field("long"), NO_FIELD, None, REFUSED),
    "a field removed that is read": Step(field("long"), NO_FIELD, None, REFUSED),
    "renamed, the old name an alias": Step(
        field("long", aliases=["old"]), {"name": "old", "type": "long"}, 5, 5
    ),
    "renamed, by a later version": Step(
        field("long"), {"name": "new", "type": "long", "aliases": ["x"]}, 5, 5
    ),
    "int to long": Step(field("long"), field("int"), 5, 5),
    "long to int": Step(field("int"), field("long"), 2**40, 2**40),
    "int or long to float": Step(field("float"), field("int"), 5, 5.0),
    "int or long to double": Step(field("double"), field("long"), 5, 5.0),
    "float to double": Step(field("double"), field("float"), 0.5, 0.5),
    "double to float": Step(field("float"), field("double"), 0.5, REFUSED),
    "double to long": Step(field("long"), field("double"), 5.0, REFUSED),
    "string to bytes": Step(field("bytes"), field("string"), "é", "é".encode()),
    "bytes to string": Step(field("string"), field("bytes"), b"abc", "abc"),
    "bytes to string, not UTF-8": Step(
        field("string"), field("bytes"), b"\xff", FLAGGED
    ),
    "string to long": Step(field("long"), field("string"), "5", REFUSED),
    "string to enum, and back": Step(field(enum("A")), field("string"), "B", "B"),
    "made nullable": Step(field("string"), field(["null", "string"]), None, None),
    "no longer nullable": Step(field(["null", "string"]), field("string"), "a", "a"),
    "a new enum symbol": Step(field(enum("A")), field(enum("A", "B")), "B", "B"),
    "timestamp-millis to timestamp-micros": Step(
        field(logical("long", "timestamp-micros")),
        field(logical("long", "timestamp-millis")),
        1_500,
        1_500_000,
    ),
    "timestamp-micros to timestamp-millis": Step(
        field(logical("long", "timestamp-millis")),
        field(logical("long", "timestamp-micros")),
        1_500_999,
        1_500,
    ),
    "long to timestamp-millis": Step(
        field(logical("long", "timestamp-millis")), field("long"), 5, REFUSED
    ),
    "a decimal of more digits": Step(
        field({"type": "bytes", **DECIMAL, "precision": 20}),
        field({"type": "bytes", **DECIMAL}),
        "1.25",
        "1.25",
    ),
    "a decimal with more digits behind the point": Step(
        field({"type": "bytes", **DECIMAL, "scale": 4}),
        field({"type": "bytes", **DECIMAL}),
        "1.25",
        "1.2500",
    ),
    "a decimal with fewer digits behind the point": Step(
        field({"type": "bytes", **DECIMAL, "scale": 1}),
        field({"type": "bytes", **DECIMAL}),
        "1.25",
        REFUSED,
    ),
    "one type to a union with it": Step(
        field(["null", "string", "long"]), field("long"), 5, {"string": None, "long": 5}
    ),
    "a union to one of its types": Step(field("long"), field(["string", "long"]), 5, 5),
    "a union to one type, another was written": Step(
        field("long"), field(["string", "long"]), "a", FLAGGED
    ),
    "float to a union of float and double": Step(
        field(["float", "double"]), field("float"), 0.5, 0.5
    ),
    "a union with float to one of float and double": Step(
        field(["float", "double"]), field(["string", "float"]), 0.5, 0.5
    ),
    "a new branch, not written": Step(
        field([CARD, CASH]),
        field([CARD, CASH, record("Voucher", code="string")]),
        ("Cash", {"given": 5}),
        {"Card": None, "Cash": {"given": 5}},
    ),
    "a new branch, written": Step(
        field([CARD, CASH]),
        field([CARD, CASH, record("Voucher", code="string")]),
        ("Voucher", {"code": "a"}),
        FLAGGED,
    ),
    "branches in another order": Step(
        field([CARD, CASH]),
        field([CASH, CARD]),
        ("Card", {"brand": "a"}),
        {"Card": {"brand": "a"}, "Cash": None},
    ),
    "a field of a record added, with a default": Step(
        field(
            {
                **record("Card", brand="string"),
                "fields": [
                    {"name": "brand", "type": "string"},
                    {"name": "last4", "type": ["null", "string"], "default": None},
                ],
            }
        ),
        field(CARD),
        {"brand": "a"},
        {"brand": "a", "last4": None},
    ),
    "items: reordered, promoted, made nullable, one more field": Step(
        field(ITEMS),
        field(OTHER_ITEMS),
        [{"note": "a", "n": 5, "sku": "b"}],
        [{"sku": "b", "n": 5}],
    ),
}


def schema(*fields: dict[str, Any]) -> str:
    """Write a record schema with the fields between two others."""
    around = [{"name": "a", "type": "string"}, *fields, {"name": "z", "type": "string"}]
    return json.dumps({"type": "record", "name": "Record", "fields": around})


def column(codec: Codec) -> str:
    """Name the type of the column as polars does."""
    frame = pl.DataFrame(codec.schema.empty_table())
    return str(frame.schema["x"])


def type_row(kind: Any) -> tuple[str, str]:  # noqa: ANN401 - Avro
    """Try a type: its column, and whether it is read fast."""
    try:
        codec = Codec(schema(field(kind)))
    except SchemaError as why:
        return "", f"no: {why.what}"
    records = codec.sample()
    decoded, safe = codec.decode(records), codec._decode_safe(records, np.arange(16))
    assert not decoded.refusals
    found = without_views(decoded.columns.to_struct_array())
    assert found.equals(safe.columns.to_struct_array())
    return column(codec), "yes" if codec.fast else "by the safe codec"


def step_row(step: Step) -> str:
    """Try a step: what becomes of a record that was written so."""
    expected, written = Codec(schema(step.expected)), Codec(schema(step.written))
    out = io.BytesIO()
    datum = {"a": "1", step.written["name"]: step.value, "z": "2"}
    fastavro.schemaless_writer(out, written.avro, _amounts(datum))
    decoded = written.decode([bytes(FRAME) + out.getvalue()] * 3)
    try:
        made = resolution(expected.type, written.type, WHOLE)
    except Unfit as why:
        refused = f"no: the schema {why}"
    else:
        refused = ""
    if refused or step.found == REFUSED:
        assert step.found == REFUSED, refused
        return refused
    columns, bad = made.apply(decoded.columns)
    if step.found == FLAGGED:
        assert bad.all()
        return "the record is a dead letter"
    assert not bad.any()
    columns.validate(full=True)
    assert without_views(columns.to_struct_array()).type == expected.type.arrow
    found = pl.DataFrame(columns)["x"]
    shown = found.to_physical() if found.dtype.is_temporal() else found
    value = shown.to_list()[0]
    assert (str(value) if isinstance(step.found, str) else value) == step.found
    assert shown.to_list() == [value] * 3
    return "yes"


def _amounts(datum: dict[str, Any]) -> dict[str, Any]:
    """Let amounts be written as decimals."""
    value = datum.get("x")
    if isinstance(value, str) and "." in value:
        return {**datum, "x": Decimal(value)}
    return datum


def tables() -> dict[str, str]:
    """Make both tables."""
    types = ["| Avro | column | read fast |", "|---|---|---|"]
    for name, kind in TYPES.items():
        shape, fast = type_row(kind)
        shown = f"`{shape}`" if shape else ""
        types.append(f"| {name} | {shown} | {fast} |")
    steps = ["| change | read |", "|---|---|"]
    steps += [f"| {name} | {step_row(step)} |" for name, step in STEPS.items()]
    return {"types": "\n".join(types), "steps": "\n".join(steps)}


def filled(page: str) -> str:
    """Return the page with its tables made anew, between their marks."""
    for mark, text in tables().items():
        before, opening, rest = page.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        page = f"{before}{opening}\n{text}\n\n{closing}{after}"
    return page


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(filled(document.read_text("utf-8")), "utf-8")
