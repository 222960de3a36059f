"""Decode Avro records of one writer schema into columns: a fast and a safe way.

Enters: framed records (the five framing bytes and the payload). Leaves: a record
batch with one column a field, and the rows that cannot be decoded with the reason.

Fast is `events.columns`, which walks a record and writes its values in one pass. Safe
is our own strict reader, one record at a time; it has the last word on all that does
not fit, and says what is wrong with it. The columns are the same ones, but that fast
ones have views where the others have texts or bytes (`events.views`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa

from consumer.events.avro_types import least_bytes, parse
from consumer.events.columns import MOST_BYTES, Columns
from consumer.events.framing import FRAME
from consumer.events.layout import NotLaidOut
from consumer.events.made_up import datum
from consumer.events.strict import Malformed, reader
from consumer.events.views import without_views
from consumer.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.events.avro_types import Type

SAMPLE = 16
# Kafka's largest record by default is a tenth of this.
LARGEST_RECORD = 10_000_000
MOST_DECODED = 256_000_000


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
        self._fast = _laid_out(self.type)
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
        if self._fast is None or not self.fast or packed.data.size > MOST_BYTES:
            return self._decode_safe(packed, rows)
        fits, columns = self._fast.decode(packed)
        if fits.all():
            return Decoded(rows, columns)
        left = rows[~fits]
        again = self._decode_safe(packed.take(left), left)
        if len(again.rows):  # `make fuzz` knows of none
            return self._decode_safe(packed, rows)
        return Decoded(rows[fits], columns, again.refusals)

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

    def _fast_is_sound(self) -> bool:
        """Compare both codecs on made-up records; equal results or no fast path."""
        if self._fast is None:
            return False
        records = self.sample()
        safe = self._decode_safe(records, np.arange(len(records)))
        fits, columns = self._fast.decode(Packed.of(records))
        found = without_views(columns.to_struct_array())
        return bool(fits.all() and found.equals(safe.columns.to_struct_array()))


def _laid_out(of: Type) -> Columns | None:
    try:
        return Columns(of, FRAME)
    except NotLaidOut:
        return None


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
        width, least = _width(part), least_bytes(part)
        if of.kind == "map":
            width, least = width + WIDEST, least + 1
        return max(width // least + 1, _growth(part))
    inner = [one.type for one in of.fields] or of.parts
    return max([1, *map(_growth, inner)])


def _width(of: Type) -> int:
    """Give the bytes of columns that a value takes, at least, with its null flag."""
    inner = [one.type for one in of.fields] or of.parts
    if of.kind in {"record", "union"}:
        return 1 + sum(map(_width, inner))
    if of.logical == "uuid":
        return UUID_WIDTH
    return max(9 if of.kind in NARROW else WIDEST, of.size)


WIDEST = 17
UUID_WIDTH = WIDEST + 104  # its 36 characters, and the arrays that these are made in
NARROW = {"null", "boolean", "int", "long", "float", "double", "array", "map"}
