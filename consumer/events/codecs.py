"""Decode Avro records of one writer schema into columns: a fast and a safe way.

Enters: framed records (the five framing bytes and the payload). Leaves: a record
batch with one column a field, and the rows that cannot be decoded with the reason.

Fast is pyruhvro, which fails a batch for one bad record and reads some bytes that are
no value: it is given only what `events.screen` found to fit. Safe is our own strict
reader, one record at a time; it has the last word on all others, and says what is
wrong with them.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pyruhvro

from consumer.events.avro_types import least_bytes, parse
from consumer.events.framing import FRAME
from consumer.events.made_up import datum
from consumer.events.screen import Screen
from consumer.events.strict import Malformed, reader
from consumer.events.wire import can_be_fast, restore, wire_schema
from consumer.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.events.avro_types import Type

SAMPLE = 16
# Below so many records a batch is no longer cut in search of the bad one.
SMALLEST_FAST = 16
# Kafka's largest record by default is a tenth of this.
LARGEST_RECORD = 10_000_000
MOST_DECODED = 256_000_000
# So many records and their columns stay in the processor's cache: a third cheaper than
# all of a batch at once.
AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one record has no columns: its row, a reason, a sentence."""

    row: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The columns of the records that decoded, their rows, and the refusals."""

    rows: NDArray[np.int64]
    columns: pa.RecordBatch
    refusals: list[Refusal] = field(default_factory=list)


Part: TypeAlias = "tuple[NDArray[np.int64], pa.RecordBatch]"


class Codec:
    """Decodes the records of one writer schema."""

    def __init__(self, text: str) -> None:
        """Parse the schema and decide once whether the fast codec serves it.

        Raises `SchemaError` when the schema is not valid, not safe or has no columns.
        """
        self._parsed, self.type = parse(text)
        self.schema = pa.schema(list(self.type.arrow))
        self.largest = largest_record(self.type)
        self._read = reader(self.type)
        self._framed = json.dumps(wire_schema(self.type, FRAMING))
        self._screen = Screen(self.type, FRAME)
        self.fast = self._fast_is_sound()

    @property
    def avro(self) -> dict[str, Any]:
        """The schema as fastavro parsed it."""
        return self._parsed

    def sample(self, count: int = SAMPLE) -> list[bytes]:
        """Make up a few framed records of the schema, always the same ones."""
        records = []
        for place in range(count):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, self._parsed, datum(self._parsed, place))
            records.append(bytes(FRAME) + out.getvalue())
        return records

    def sample_frame(self) -> pl.DataFrame:
        """Give made-up events as columns, to check expressions against."""
        return pl.DataFrame(self.decode(self.sample()).columns)

    def decode(self, records: Sequence[bytes]) -> Decoded:
        """Decode framed records; refused ones are reported, never raised."""
        packed, rows = Packed.of(records), np.arange(len(records))
        if (large := packed.sizes > self.largest).any():
            return self._without(rows[large], packed)
        if not self.fast:
            return self._decode_safe(packed, rows)
        fits = self._screen.fitting(packed)
        sound = rows if fits.all() else rows[fits]
        fitting = packed.take(sound)
        parts: list[Part] = []
        for begin in range(0, len(sound), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            parts += self._halved(fitting[part], sound[part])
        done = sum(len(part_rows) for part_rows, _ in parts)
        if done == len(records):
            return Decoded(rows, self._joined([part for _, part in parts]))
        fits[:] = False
        for part_rows, _ in parts:
            fits[part_rows] = True
        left = rows[~fits]
        again = self._decode_safe(packed.take(left), left)
        if len(again.rows) or not parts:
            parts.append((again.rows, again.columns))
        both = np.concatenate([part_rows for part_rows, _ in parts])
        joined = self._joined([part for _, part in parts])
        if len(again.rows):
            order = np.argsort(both)
            both, joined = both[order], joined.take(pa.array(order))
        return Decoded(both, joined, again.refusals)

    def _halved(self, records: Sequence[bytes], rows: NDArray[np.int64]) -> list[Part]:
        """Decode what the fast codec takes: all, or it has an error of its own."""
        if not len(rows):
            return []
        try:
            return [(rows, self._deserialized(records))]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a Rust panic is a BaseException
            if len(records) <= SMALLEST_FAST:
                return []
        half = len(records) // 2
        first = self._halved(records[:half], rows[:half])
        return first + self._halved(records[half:], rows[half:])

    def _without(self, large: NDArray[np.int64], records: Packed) -> Decoded:
        """Decode all but the records that are too large to be tried."""
        rows = np.setdiff1d(np.arange(len(records)), large)
        rest = self.decode(records.take(rows))
        why = f"The record is larger than {self.largest:,} bytes, which its schema is "
        refused = [
            Refusal(row, "too_large", f"{why}read to.") for row in large.tolist()
        ]
        refused += [
            Refusal(int(rows[one.row]), one.reason, one.sentence)
            for one in rest.refusals
        ]
        return Decoded(rows[rest.rows], rest.columns, refused)

    def _deserialized(self, records: Sequence[bytes]) -> pa.RecordBatch:
        """Decode records that fit, at once; raises whatever the codec does."""
        batch: pa.RecordBatch = pyruhvro.deserialize_array(records, self._framed)
        batch.validate()
        made = [
            restore(one.type, batch.column(place))
            for place, one in enumerate(self.type.fields, len(FRAMING))
        ]
        return pa.RecordBatch.from_arrays(made, schema=self.schema)

    def _decode_safe(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> Decoded:
        """Decode one by one; what this refuses is a dead letter."""
        good, data, refusals = [], [], []
        for row, record in zip(rows.tolist(), records, strict=True):
            try:
                found, end = self._read(record, FRAME)
            except Malformed as why:
                sentence = f"The record does not fit its schema: {why}."
                refusals.append(Refusal(row, "undecodable", sentence))
                continue
            if left := len(record) - end:
                sentence = f"{left} bytes follow the record."
                refusals.append(Refusal(row, "trailing_bytes", sentence))
                continue
            good.append(row)
            data.append(found)
        made = pa.array(data, self.type.arrow)
        whole = pa.RecordBatch.from_struct_array(made)
        return Decoded(np.array(good, np.int64), whole, refusals)

    def _joined(self, parts: list[pa.RecordBatch]) -> pa.RecordBatch:
        if not parts:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def _fast_is_sound(self) -> bool:
        """Compare both codecs on made-up records; equal results or no fast path."""
        if not can_be_fast(self.type):
            return False
        records = self.sample()
        rows = np.arange(len(records))
        safe = self._decode_safe(records, rows)
        try:
            alike = self._deserialized(records).equals(safe.columns)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - whatever it is, the safe codec remains
            return False
        return bool(alike) and bool(self._screen.fitting(Packed.of(records)).all())


FRAMING = [{"name": "_magic", "type": "boolean"}, {"name": "_id", "type": "float"}]


def largest_record(of: Type) -> int:
    """Bound a record's bytes, so that its columns stay below `MOST_DECODED` bytes.

    An item that takes one byte may fill many columns: a null in place of a record has
    a place in each of that record's.
    """
    return min(LARGEST_RECORD, MOST_DECODED // _growth(of))


def _growth(of: Type) -> int:
    """Give how many bytes of columns one byte of a record may become."""
    if of.kind in {"array", "map"}:
        (part,) = of.parts
        least = max(1, least_bytes(part))
        return max(_width(part) // least + 1, _growth(part))
    inner = [one.type for one in of.fields] or of.parts
    return max([1, *map(_growth, inner)])


def _width(of: Type) -> int:
    """Give the bytes of columns that a value takes, at least."""
    inner = [one.type for one in of.fields] or of.parts
    if of.kind in {"record", "union"}:
        return 1 + sum(map(_width, inner))
    return max(8, of.size)
