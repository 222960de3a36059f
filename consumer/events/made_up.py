"""Made-up data of a schema, always the same, to try codecs and expressions on.

Datum number 0, 1, 2 … of one schema differ, and among them are nulls, empty lists,
negative numbers and text beyond ASCII.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from consumer.errors import SchemaError

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = ("", "a", "Łódź", "2024-01-01", "17", "b b", "-3")
KINDS = 7


def datum(schema: Any, place: int) -> Any:  # noqa: ANN401 - Avro data
    """Make up datum number `place` of a schema parsed by fastavro."""
    return _datum(schema, place, {})


def _datum(  # noqa: C901, PLR0911, PLR0912 - one return a kind of type
    schema: Any,  # noqa: ANN401 - parsed JSON
    place: int,
    named: dict[str, Any],
) -> Any:  # noqa: ANN401 - Avro data
    if isinstance(schema, list):
        branch = schema[place % len(schema)]
        if branch == "null":
            return None
        # Said by name, where fastavro would have to guess which branch is meant.
        about = branch if isinstance(branch, dict) else {"name": branch}
        return about.get("name", about.get("type")), _datum(branch, place, named)
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    if "name" in schema:
        named[schema["name"]] = schema
    kind = schema["type"]
    if "logicalType" in schema and (made := _logical(schema, place)) is not None:
        return made
    match kind:
        case "null":
            return None
        case "boolean":
            return place % 3 == 0
        case "int" | "long":
            return (place - 3) * 7 ** (place % 7)
        case "float" | "double":
            return (place - 3) * 0.375
        case "bytes":
            return bytes(range(place))
        case "string":
            return TEXTS[place % KINDS]
        case "fixed":
            return bytes([place]) * schema["size"]
        case "enum":
            return schema["symbols"][place % len(schema["symbols"])]
        case "array":
            return [_datum(schema["items"], place + i, named) for i in range(place % 4)]
        case "map":
            return {
                TEXTS[i + 1]: _datum(schema["values"], place + i, named)
                for i in range(place % 3)
            }
        case "record" | "error":
            return {
                field["name"]: _datum(field["type"], place + i, named)
                for i, field in enumerate(schema["fields"])
            }
        case dict() | list():
            return _datum(kind, place, named)
        case _:
            raise SchemaError(f"The type {kind} has no columns.")


def _logical(schema: dict[str, Any], place: int) -> Any:  # noqa: ANN401 - Avro data
    """Make up what fastavro writes as a logical type; None where it knows none."""
    moment = BEGIN + timedelta(days=place * place, milliseconds=place)
    match schema["logicalType"]:
        case "decimal":
            return Decimal(place % 10 - 3).scaleb(-schema.get("scale", 0))
        case "date":
            return date(1969, 12, 25) + timedelta(days=place)
        case "time-millis" | "time-micros":
            return time(place % 24, 30)
        case "timestamp-millis" | "timestamp-micros":
            return moment
        case _:
            return None
