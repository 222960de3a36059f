"""A writer schema as a tree of types, each with the column that it decodes to.

Enters: the text of an Avro schema. Leaves: a `Type`, names resolved and written out,
or a `SchemaError` that names the field. What cannot be read safely has no tree: a
record in itself, nesting without bounds, items that take no bytes, decimals that no
column holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro
import pyarrow as pa

from consumer.errors import SchemaError

LONGEST_TEXT: Final = 1_000_000
MOST_TYPES: Final = 10_000
DEEPEST: Final = 32
DEEPEST_REPEATED: Final = 6
LARGEST_FIXED: Final = 65_536
LARGEST_PRECISION: Final = 38
# What fastavro raises for JSON that is no schema, besides its own error.
MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
ABSENT: Final = object()

PLAIN: Final = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    # Written alike, and a number too large for an int does not wrap.
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
LOGICAL: Final = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms"),
    ("long", "timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}
UUID_BYTES: Final = 16
LEAST: Final = {"null": 0, "float": 4, "double": 8}  # bytes; one for the others
FLOATS: Final = {pa.float32(), pa.float64()}


@dataclass(frozen=True, slots=True)
class Field:
    """A record's field; `default` is `ABSENT` where it has none."""

    name: str
    type: Type
    default: Any = ABSENT
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `arrow` is its column; the rest is there where `kind` has it.

    `logical` is what is read of the logical type: a `LOGICAL`, "decimal", "uuid" or
    empty. `parts` are a union's branches, or the one type of items or values.
    """

    kind: str
    arrow: pa.DataType
    name: str = ""
    logical: str = ""
    size: int = 0
    symbols: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    parts: tuple[Type, ...] = field(default=())

    @property
    def branches(self) -> tuple[Type, ...]:
        """The branches but null; of another type, the type itself."""
        parts = self.parts if self.kind == "union" else (self,)
        return tuple(part for part in parts if part.kind != "null")

    @property
    def is_struct_of_branches(self) -> bool:
        """Whether its column is a struct with a field for each branch."""
        struct = self.kind == "union" and pa.types.is_struct(self.arrow)
        return struct and any(one.arrow != self.arrow for one in self.branches)


def parse(text: str) -> tuple[dict[str, Any], Type]:
    """Give the schema as fastavro parses it, and its tree.

    Raises `SchemaError` where it is not valid, not a record, or not safe to read.
    """
    if len(text) > LONGEST_TEXT:
        raise SchemaError(
            f"The schema has {len(text):,} characters; {LONGEST_TEXT:,} are read.",
            "Register a smaller one.",
        )
    try:
        parsed = fastavro.parse_schema(json.loads(text))
    except (*MALFORMED, fastavro.schema.SchemaParseException) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise SchemaError(
            f"The schema is not valid Avro: {why}.", "Mend the schema file."
        ) from error
    if not isinstance(parsed, dict) or parsed.get("type") not in {"record", "error"}:
        raise SchemaError("The schema is not a record.", "Purchases are Avro records.")
    return parsed, _Tree().type(parsed, ())


def branch_name(branch: Type) -> str:
    """Name a branch of a union as its column's field: as expressions name it."""
    return branch.name or branch.kind


class _Tree:
    """Builds a tree; knows the named types met so far, and counts."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[str] = set()
        self._count = 0
        self._repeated = 0

    def type(self, schema: Any, path: tuple[str, ...]) -> Type:  # noqa: ANN401 - JSON
        self._count += 1
        if self._count > MOST_TYPES:
            raise _refused(path, f"has more than {MOST_TYPES:,} types", "Split it.")
        if len(path) > DEEPEST:
            raise _refused(path, f"is nested over {DEEPEST} deep", "Flatten it.")
        if isinstance(schema, list):
            return self._union(schema, path)
        if isinstance(schema, str):
            if schema in PLAIN:
                return Type(schema, PLAIN[schema])
            schema = self._named[schema]
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.type(kind, path)
        if kind in {"array", "map"}:
            return self._repeating(kind, schema, path)
        if kind in {"record", "error"}:
            return self._record(schema, path)
        return self._leaf(kind, schema, path)

    def _leaf(self, kind: str, schema: dict[str, Any], path: tuple[str, ...]) -> Type:
        logical = str(schema.get("logicalType", ""))
        size = int(schema.get("size", 0))
        name = ""
        if kind in {"enum", "fixed"}:
            self._named[schema["name"]] = schema
            name = _short(schema["name"])
        elif kind not in PLAIN:
            return self.type(kind, path)
        if kind == "fixed" and not 0 <= size <= LARGEST_FIXED:
            what = f"is fixed to {size:,} bytes, more than {LARGEST_FIXED:,}"
            raise _refused(path, what, "Use bytes.")
        if kind == "enum":
            symbols = tuple(schema["symbols"])
            return Type(kind, pa.string(), name=name, symbols=symbols)
        if logical == "decimal" and kind in {"bytes", "fixed"}:
            arrow = _decimal(schema, path)
            return Type(kind, arrow, name=name, logical=logical, size=size)
        if (arrow := LOGICAL.get((kind, logical))) is not None:
            return Type(kind, arrow, logical=logical)
        if kind == "fixed" and logical == "uuid" and size == UUID_BYTES:
            return Type(kind, pa.string(), name=name, logical=logical, size=size)
        return Type(kind, PLAIN.get(kind, pa.binary()), name=name, size=size)

    def _record(self, schema: dict[str, Any], path: tuple[str, ...]) -> Type:
        name = schema["name"]
        if name in self._open:
            raise _refused(path, f"contains {_short(name)} in itself", "Flatten it.")
        self._named[name] = schema
        self._open.add(name)
        fields = tuple(
            Field(
                one["name"],
                self.type(one["type"], (*path, one["name"])),
                one.get("default", ABSENT),
                tuple(one.get("aliases", ())),
            )
            for one in schema["fields"]
        )
        self._open.discard(name)
        arrow = pa.struct([pa.field(one.name, one.type.arrow) for one in fields])
        return Type("record", arrow, name=_short(name), fields=fields)

    def _repeating(
        self, kind: str, schema: dict[str, Any], path: tuple[str, ...]
    ) -> Type:
        self._repeated += 1
        if self._repeated > DEEPEST_REPEATED:
            what = f"has lists in lists over {DEEPEST_REPEATED} deep"
            raise _refused(path, what, "Flatten it.")
        of = self.type(schema["items" if kind == "array" else "values"], (*path, "[]"))
        self._repeated -= 1
        if kind == "map":
            return Type(kind, pa.map_(pa.string(), of.arrow), parts=(of,))
        if least_bytes(of) == 0:
            # A few bytes could claim any number of them.
            what = "is a list of items that take no bytes"
            raise _refused(path, what, "Leave the field out.")
        return Type(kind, pa.list_(of.arrow), parts=(of,))

    def _union(self, schema: list[Any], path: tuple[str, ...]) -> Type:
        parts = tuple(self.type(one, (*path, "|")) for one in schema)
        branches = [one for one in parts if one.kind != "null"]
        if not branches:
            raise _refused(path, "is a union of nothing but null", "Leave it out.")
        kinds = {one.arrow for one in branches}
        if len(kinds) == 1:
            arrow = branches[0].arrow
        elif kinds <= FLOATS:
            arrow = pa.float64()
        else:
            names = [branch_name(one) for one in branches]
            if len(set(names)) < len(names):
                what = f"is a union with several branches called {min(names)}"
                raise _refused(path, what, "Rename one of them.")
            arrow = pa.struct(
                [pa.field(branch_name(one), one.arrow) for one in branches]
            )
        return Type("union", arrow, parts=parts)


def least_bytes(of: Type) -> int:
    """Give how few bytes a value of the type can take."""
    match of.kind:
        case "fixed":
            return of.size
        case "record":
            return sum(least_bytes(one.type) for one in of.fields)
        case "union":
            return 1 + min(least_bytes(one) for one in of.parts)
        case kind:
            return LEAST.get(kind, 1)


def _decimal(schema: dict[str, Any], path: tuple[str, ...]) -> pa.DataType:
    precision, scale = schema["precision"], schema.get("scale", 0)
    if not 0 < precision <= LARGEST_PRECISION or not 0 <= scale <= precision:
        what = f"is a decimal of {precision} digits, {scale} of them behind the point"
        remedy = f"Use at most {LARGEST_PRECISION} digits."
        raise _refused(path, what, remedy)
    return pa.decimal128(precision, scale)


def _refused(path: tuple[str, ...], what: str, remedy: str) -> SchemaError:
    named = ".".join(part for part in path if part != "|")
    shown = f"The field {named}" if named else "The schema"
    return SchemaError(f"{shown} {what}, and so has no column.", remedy)


def _short(name: str) -> str:
    return str(name).rpartition(".")[2]
