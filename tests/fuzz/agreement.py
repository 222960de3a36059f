"""Whether the service decodes as the safe codec alone would, record by record."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from consumer.errors import SchemaError
from consumer.events.codecs import Codec
from tests.fuzz.avro_schemas import broken, whole

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
