"""Decode Avro records of one writer schema into columns: a fast and a safe way.

Enters: framed records (the five framing bytes and the payload). Leaves: a record
batch with one column a field, and the rows that cannot be decoded with the reason.

Fast is pyruhvro. It reports neither trailing bytes nor which record of a batch is
bad, so each record gets a tail: a sentinel that is read as three more fields, then
zeros. A record is sound only if the sentinel comes back whole. The tail's bytes are
small numbers, so that a record that was cut short nearly always decodes to its end
and is found by its sentinel, without failing the batch. Safe is fastavro, one record
at a time; it has the last word on every record that the fast codec refuses.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pyruhvro

from consumer.errors import SchemaError
from consumer.events.arrow_types import arrow_schema, fast_type, readable
from consumer.events.made_up import datum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FRAME = 5
SENTINEL_SIZE = 24
PADDING = bytes(64)
SAMPLE = 16
# Below so many records a batch is no longer halved in search of the bad one. What the
# safe codec then refuses is tried alone on the fast one, so that what becomes of a
# record never depends on its neighbours.
SMALLEST_FAST = 8
# What fastavro raises for JSON that is no schema, besides its own error.
MALFORMED = (ValueError, KeyError, TypeError)


def _draw_sentinel() -> bytes:
    """Draw 0s and 2s that begin and end with 2.

    Followed by zeros it equals no copy of itself that bytes were taken from, whatever
    is drawn. A copy shifted by a few bytes in front is no sentinel either: draws that
    repeat themselves within half their length are dropped.
    """
    while True:
        drawn = [2, *random.SystemRandom().choices((0, 2), k=SENTINEL_SIZE - 2), 2]
        shifts = range(1, SENTINEL_SIZE // 2 + 1)
        if all(drawn[shift:] != drawn[:-shift] for shift in shifts):
            return bytes(drawn)


SENTINEL = _draw_sentinel()
TAIL = SENTINEL + PADDING
EXPECTED = np.frombuffer(SENTINEL, "<u8")


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

        Raises `SchemaError` when the schema is not valid or has no columns.
        """
        try:
            fastavro.parse_schema(json.loads(text))
            widened = readable(json.loads(text))
            parsed = fastavro.parse_schema(widened)
        except (*MALFORMED, fastavro.schema.SchemaParseException) as error:
            raise SchemaError(
                f"The schema is not valid Avro: {error}.", "Mend the schema file."
            ) from error
        if not (isinstance(parsed, dict) and isinstance(widened, dict)):
            raise SchemaError("The schema is not a record.", "Use a record schema.")
        self._parsed = parsed
        self.schema = arrow_schema(parsed)
        self._framed = _framed(widened)
        self.fast = self._fast_is_sound()

    @property
    def avro(self) -> dict[str, Any]:
        """The parsed schema by which the safe codec reads."""
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
        rows = np.arange(len(records))
        if not self.fast:
            return self._decode_safe(records, rows)
        untold: set[int] = set()
        tailed = [record + TAIL for record in records]
        parts = self._decode_fast(tailed, rows, untold)
        done = sum(len(part_rows) for part_rows, _ in parts)
        if done == len(records):
            return Decoded(rows, self._joined([part for _, part in parts]))
        left = np.setdiff1d(rows, np.concatenate([r for r, _ in parts] or [rows[:0]]))
        again = self._decode_safe(
            [records[row] for row in left.tolist()], left, canonical=True
        )
        parts.append((again.rows, again.columns))
        refusals = []
        for refusal in again.refusals:
            place = slice(refusal.row, refusal.row + 1)
            alone: list[Part] = []
            if refusal.row in untold:
                alone = self._decode_fast(tailed[place], rows[place], set())
                parts += alone
            if not any(len(part_rows) for part_rows, _ in alone):
                refusals.append(refusal)
        both = np.concatenate([part_rows for part_rows, _ in parts])
        order = np.argsort(both)
        joined = self._joined([part for _, part in parts]).take(pa.array(order))
        return Decoded(both[order], joined, refusals)

    def _decode_fast(
        self, tailed: list[bytes], rows: NDArray[np.int64], untold: set[int]
    ) -> list[Part]:
        """Decode what the fast codec takes, halving where a batch fails.

        Adds to `untold` the rows of small batches that failed: one of them is bad.
        """
        if len(tailed) == 0:
            return []
        try:
            return [self._deserialized(tailed, rows)]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a Rust panic is a BaseException
            if len(tailed) <= SMALLEST_FAST:
                untold.update(rows.tolist())
                return []
            half = len(tailed) // 2
            first = self._decode_fast(tailed[:half], rows[:half], untold)
            return first + self._decode_fast(tailed[half:], rows[half:], untold)

    def _deserialized(self, tailed: list[bytes], rows: NDArray[np.int64]) -> Part:
        """Decode at once; gives the sound records, raises whatever the codec does."""
        batch: pa.RecordBatch = pyruhvro.deserialize_array(tailed, self._framed)
        batch.validate(full=True)
        sound = np.ones(len(tailed), bool)
        for index, expected in enumerate(EXPECTED):
            ends = batch.column(f"_end{index}").to_numpy().view("<u8")
            sound &= ends == expected
        columns = batch.select(self.schema.names)
        if not sound.all():
            columns, rows = columns.filter(pa.array(sound)), rows[sound]
        return rows, columns

    def _decode_safe(
        self,
        records: Sequence[bytes],
        rows: NDArray[np.int64],
        *,
        canonical: bool = False,
    ) -> Decoded:
        """Decode one by one; what this refuses is a dead letter.

        fastavro takes a boolean of 2 and an enum index of -1: where the fast codec
        refused a record, it must be, `canonical`, what an encoder would write.
        """
        good, data, refusals = [], [], []
        for row, record in zip(rows.tolist(), records, strict=True):
            stream = io.BytesIO(record)
            stream.seek(FRAME)
            try:
                found = fastavro.schemaless_reader(stream, self._parsed)
                column = pa.array([found], pa.struct(list(self.schema)))
                sound = not canonical or self._is_canonical(record, found)
            except Exception as error:  # noqa: BLE001 - fastavro raises whatever it meets
                refusals.append(Refusal(row, "undecodable", _why(error)))
                continue
            if left := len(record) - stream.tell():
                why = f"{left} bytes follow the record."
                refusals.append(Refusal(row, "trailing_bytes", why))
                continue
            if not sound:
                why = "The record does not fit its schema: no encoder writes it so."
                refusals.append(Refusal(row, "undecodable", why))
                continue
            good.append(row)
            data.append(column)
        whole = (
            pa.RecordBatch.from_struct_array(pa.concat_arrays(data))
            if data
            else pa.RecordBatch.from_pylist([], schema=self.schema)
        )
        return Decoded(np.array(good, np.int64), whole, refusals)

    def _is_canonical(self, record: bytes, found: Any) -> bool:  # noqa: ANN401 - decoded Avro
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._parsed, found)
        # Trailing bytes are another matter, with a reason of their own.
        return record.startswith(out.getvalue(), FRAME)

    def _joined(self, parts: list[pa.RecordBatch]) -> pa.RecordBatch:
        if not parts:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        fixed = [part.cast(self.schema) for part in parts]
        if len(fixed) == 1:
            return fixed[0]
        return pa.concat_batches(fixed)

    def _fast_is_sound(self) -> bool:
        """Compare both codecs on made-up records; equal results or no fast path."""
        records = self.sample()
        rows = np.arange(len(records))
        if not all(map(fast_type, self.schema.types)):
            return False
        safe = self._decode_safe(records, rows)
        try:
            done, columns = self._deserialized([one + TAIL for one in records], rows)
            alike = self._joined([columns]).equals(safe.columns)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - whatever it is, the safe codec remains
            return False
        return len(done) == len(records) and bool(alike)


def _framed(schema: dict[str, Any]) -> str:
    """Put the framing in front of the fields and the sentinel behind them."""
    framing = [{"name": "_magic", "type": "boolean"}, {"name": "_id", "type": "float"}]
    ends = [{"name": f"_end{i}", "type": "double"} for i in range(len(EXPECTED))]
    return json.dumps({**schema, "fields": [*framing, *schema["fields"], *ends]})


def _why(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return f"The record does not fit its schema: {text}."
