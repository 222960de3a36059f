"""Whether the service decodes as the safe codec alone would, record by record."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from consumer.errors import SchemaError
from consumer.events.codecs import Codec
from consumer.events.framing import FRAME
from consumer.events.views import without_views
from tests.fuzz.avro_schemas import broken, whole

if TYPE_CHECKING:
    from consumer.events.avro_types import Type

SOUND = 40
BATCH = 250


@dataclass(slots=True)
class Tally:
    """What was tried, and whether all agreed; `disagreements` name schema and bytes."""

    schemas: int = 0
    refused: int = 0
    fast: int = 0
    payloads: int = 0
    decoded: int = 0
    dead: int = 0
    disagreements: list[str] = field(default_factory=list)

    def add(self, schema: str, payloads: int, seed: int) -> None:
        """Try one schema with broken and sound payloads."""
        try:
            codec = Codec(schema)
        except SchemaError:
            self.refused += 1
            return
        self.schemas += 1
        self.fast += codec.fast
        draw = random.Random(seed)
        sound = [whole(codec.avro, place) for place in range(SOUND)]
        if not as_fastavro_reads(codec, schema, sound):
            self.disagreements.append(f"{schema}: fastavro reads other values")
        for size in _sizes(payloads):
            batch = [broken(sound, draw) for _ in range(size)]
            self._compare(codec, schema, batch)

    def _compare(self, codec: Codec, schema: str, batch: list[bytes]) -> None:
        found = codec.decode(batch)
        safe = codec._decode_safe(batch, np.arange(len(batch)))
        found.columns.validate(full=True)
        alike = (
            found.rows.tolist() == safe.rows.tolist()
            and [(one.row, one.reason) for one in found.refusals]
            == [(one.row, one.reason) for one in safe.refusals]
            and pl.DataFrame(found.columns).equals(pl.DataFrame(safe.columns))
            and (not codec.fast or _nulls_go_down(found.columns.to_struct_array()))
        )
        self.payloads += len(batch)
        self.decoded += len(found.rows)
        self.dead += len(found.refusals)
        if not alike:
            self.disagreements.append(self._smallest(codec, schema, batch))

    def _smallest(self, codec: Codec, schema: str, batch: list[bytes]) -> str:
        """Find one record of a batch that shows it, if one alone does."""
        for record in batch:
            rows = np.arange(1)
            found, safe = codec.decode([record]), codec._decode_safe([record], rows)
            same = pl.DataFrame(found.columns).equals(pl.DataFrame(safe.columns))
            if len(found.rows) != len(safe.rows) or not same:
                return f"{schema}: {record.hex()}: {found.columns} or {safe.columns}"
        return f"{schema}: a batch of {len(batch)}"


def as_fastavro_reads(codec: Codec, schema: str, sound: list[bytes]) -> bool:
    """Tell whether whole records decode to what fastavro reads of them.

    It does not say which branch of a union it read: then it is no witness.
    """
    plain = fastavro.parse_schema(_without_logical(json.loads(schema)))
    found = codec.decode(sound)
    try:
        read = [
            _as_column(codec.type, _read_by_fastavro(plain, one[FRAME:]))
            for one in sound
        ]
    except _NoWitnessError:
        return True
    expected = pa.array(read, codec.type.arrow)
    return bool(without_views(found.columns.to_struct_array()).equals(expected))


class _NoWitnessError(Exception):
    pass


def _read_by_fastavro(schema: Any, payload: bytes) -> Any:  # noqa: ANN401 - Avro data
    return fastavro.schemaless_reader(io.BytesIO(payload), schema, None)


def _without_logical(schema: Any) -> Any:  # noqa: ANN401 - Avro as JSON
    if isinstance(schema, list):
        return [_without_logical(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_logical(value)
        for name, value in schema.items()
        if name != "logicalType"
    }


def _as_column(of: Type, value: Any) -> Any:  # noqa: ANN401, PLR0911 - Avro data
    """Give a value without its logical type as `pyarrow.array` takes it."""
    match of.kind:
        case "record":
            return {
                one.name: _as_column(one.type, value[one.name]) for one in of.fields
            }
        case "array":
            return [_as_column(of.parts[0], one) for one in value]
        case "map":
            return [(key, _as_column(of.parts[0], one)) for key, one in value.items()]
        case "union" if of.is_struct_of_branches:
            raise _NoWitnessError
        case "union" if len({(one.kind, one.logical) for one in of.branches}) > 1:
            raise _NoWitnessError
        case "union":
            return None if value is None else _as_column(of.branches[0], value)
        case _ if of.logical == "decimal":
            unscaled = int.from_bytes(value, "big", signed=True)
            return Decimal(unscaled).scaleb(-of.arrow.scale)
        case "fixed" if of.logical == "uuid":
            return str(UUID(bytes=value))
        case _:
            return value


def _nulls_go_down(array: pa.Array) -> bool:
    """Tell whether all is null below a record that is null: `resolve` counts on it."""
    if pa.types.is_struct(array.type):
        inner = [array.field(place) for place in range(array.type.num_fields)]
        below = [_true(pc.and_not(array.is_null(), one.is_null())) for one in inner]
        return not any(below) and all(map(_nulls_go_down, inner))
    if pa.types.is_map(array.type):
        return _nulls_go_down(array.items)
    return not pa.types.is_list(array.type) or _nulls_go_down(array.values)


def _true(flags: pa.Array) -> bool:
    return bool(flags.true_count)


def _sizes(payloads: int) -> list[int]:
    """Cut into batches of several sizes: a record's fate must not depend on them."""
    sizes: list[int] = []
    while payloads > 0:
        sizes.append(min(payloads, (1, 7, BATCH, BATCH * 4)[len(sizes) % 4]))
        payloads -= sizes[-1]
    return sizes
