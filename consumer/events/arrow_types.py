"""Avro types as Arrow types: what a decoded column is, whichever codec made it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from consumer.errors import SchemaError

PLAIN = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "fixed": pa.binary(),
    "enum": pa.string(),
}
LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms"),
    "timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}


def arrow_schema(schema: dict[str, Any]) -> pa.Schema:
    """Give the columns that records of a parsed record schema decode to.

    Raises `SchemaError` naming the type that has no column.
    """
    if schema.get("type") != "record":
        raise SchemaError(
            f"The schema is a {schema.get('type')}, not a record.",
            "Purchases are Avro records.",
        )
    struct = _type(schema, {})
    return pa.schema(list(struct))


def _type(  # noqa: PLR0911 - one return a kind of type
    schema: Any,  # noqa: ANN401 - parsed JSON
    named: dict[str, pa.DataType],
) -> pa.DataType:
    if isinstance(schema, str):
        return named[schema] if schema in named else PLAIN[schema]
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        if len(branches) != 1:
            raise SchemaError(
                f"A union of {len(branches)} types has no column.",
                "Use unions of null and one type.",
            )
        return _type(branches[0], named)
    kind = schema["type"]
    if (logical := schema.get("logicalType")) in LOGICAL:
        return LOGICAL[logical]
    if logical == "decimal":
        return pa.decimal128(schema["precision"], schema.get("scale", 0))
    match kind:
        case "record":
            fields = [
                pa.field(field["name"], _type(field["type"], named))
                for field in schema["fields"]
            ]
            named[schema["name"]] = pa.struct(fields)
            return named[schema["name"]]
        case "array":
            return pa.list_(_type(schema["items"], named))
        case "map":
            return pa.map_(pa.string(), _type(schema["values"], named))
        case "enum" | "fixed":
            named[schema["name"]] = PLAIN[kind]
            return PLAIN[kind]
        case _:
            return _type(kind, named)
