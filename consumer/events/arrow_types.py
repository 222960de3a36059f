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
LARGEST_PRECISION = 38
LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms"),
    "timestamp-micros": pa.timestamp("us"),
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


def readable(schema: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """Give the schema by which its records are read.

    An int is read as a long, which is written alike: a number too large for an int
    does not wrap, nor does arithmetic in expressions. A uuid is read as the text that
    it is, a local timestamp as a timestamp.
    """
    if isinstance(schema, list):
        return [readable(branch) for branch in schema]
    if not isinstance(schema, dict):
        return "long" if schema == "int" else schema
    read = {
        name: readable(value) if name in {"type", "items", "values"} else value
        for name, value in schema.items()
    }
    kind, logical = schema.get("type"), str(schema.get("logicalType", ""))
    if kind == "int" and logical in LOGICAL:
        read["type"] = "int"
    elif kind in {"int", "string"}:
        read.pop("logicalType", None)
    elif logical.startswith("local-timestamp"):
        read["logicalType"] = logical.removeprefix("local-")
    if kind in {"record", "error"}:
        read["fields"] = [
            {**one, "type": readable(one["type"])} for one in schema["fields"]
        ]
    return read


def _type(  # noqa: PLR0911 - one return a kind of type
    schema: Any,  # noqa: ANN401 - parsed JSON
    named: dict[str, pa.DataType],
) -> pa.DataType:
    if isinstance(schema, str):
        found = named.get(schema, PLAIN.get(schema))
        if found is None:
            raise SchemaError(
                f"The record {schema} contains itself, and so has no columns.",
                "Flatten it.",
            )
        return found
    if isinstance(schema, list):
        return _type(_only_branch(schema), named)
    kind = schema["type"]
    if (logical := schema.get("logicalType")) in LOGICAL:
        return LOGICAL[logical]
    if logical == "decimal":
        return _decimal(schema["precision"], schema.get("scale", 0))
    match kind:
        case "record":
            fields = [
                pa.field(field["name"], _type(field["type"], named))
                for field in schema["fields"]
            ]
            named[schema["name"]] = pa.struct(fields)
            return named[schema["name"]]
        case "array":
            return _list(_type(schema["items"], named))
        case "map":
            return pa.map_(pa.string(), _type(schema["values"], named))
        case "enum" | "fixed":
            named[schema["name"]] = PLAIN[kind]
            return PLAIN[kind]
        case _:
            return _type(kind, named)


def _only_branch(union: list[Any]) -> Any:  # noqa: ANN401 - parsed JSON
    branches = [branch for branch in union if branch != "null"]
    if len(branches) != 1:
        raise SchemaError(
            f"A union of {len(branches)} types has no column.",
            "Use unions of null and one type.",
        )
    return branches[0]


def _decimal(precision: int, scale: int) -> pa.DataType:
    if precision > LARGEST_PRECISION:
        raise SchemaError(
            f"A decimal of {precision} digits has no column.",
            f"Use at most {LARGEST_PRECISION} digits.",
        )
    return pa.decimal128(precision, scale)


def _list(items: pa.DataType) -> pa.DataType:
    if _takes_no_bytes(items):
        # A few bytes could claim any number of them.
        raise SchemaError("An array of nothing has no column.", "Leave the field out.")
    return pa.list_(items)


def fast_type(kind: pa.DataType) -> bool:
    """Tell whether the fast codec may be tried: on some types it only panics."""
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    if inner:
        return all(map(fast_type, inner))
    is_slow = (pa.types.is_binary, pa.types.is_decimal, pa.types.is_time)
    return not any(is_kind(kind) for is_kind in is_slow)


def _takes_no_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_takes_no_bytes(field.type) for field in kind)
    return bool(pa.types.is_null(kind))
