"""Decode Avro records of one writer schema into columns: a fast and a safe way.

Enters: framed records (the five framing bytes and the payload). Leaves: a record
batch with one column a field, and the rows that cannot be decoded with the reason.

Fast is pyruhvro. It reports neither trailing bytes nor which record of a batch is
bad, so each record gets a tail: a sentinel that is read as three more fields, then
zeros. A record is sound only if the sentinel comes back whole. The tail's bytes are
small numbers, so that a record that was cut short nearly always decodes to its end
and is found by its sentinel, without failing the batch. Safe is our own strict reader,
one record at a time; it has the last word on what the fast codec refuses.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pyruhvro

from consumer.events.avro_types import least_bytes, parse
from consumer.events.framing import FRAME
from consumer.events.made_up import datum
from consumer.events.screen import fitting
from consumer.events.strict import Malformed, reader
from consumer.events.wire import can_be_fast, restore, wire_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.events.avro_types import Type

SENTINEL_SIZE = 24
PADDING = bytes(64)
SAMPLE = 16
# Below so many records a batch is no longer cut in search of the bad one.
SMALLEST_FAST = 16
# The fast codec takes a block of -2**63 items, written so, for an empty one. No text
# holds these bytes, and hardly a number.
NO_BLOCK = b"\xff" * 9
# Kafka's largest record by default is a tenth of this.
LARGEST_RECORD = 10_000_000
MOST_DECODED = 256_000_000
# So many records and their columns stay in the processor's cache: a third cheaper than
# all of a batch at once.
AT_ONCE = 2_000


def tail(record: bytes) -> bytes:
    """Put the sentinel and its padding behind a record."""
    return record + TAIL


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

        Raises `SchemaError` when the schema is not valid, not safe or has no columns.
        """
        self._parsed, self.type = parse(text)
        self.schema = pa.schema(list(self.type.arrow))
        self.largest = largest_record(self.type)
        self._read = reader(self.type)
        self._framed = json.dumps(wire_schema(self.type, FRAMING, ENDS))
        self._has_blocks = any(map(_has_blocks, [one.type for one in self.type.fields]))
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

    def decode_sound(
        self, values: Sequence[bytes | None], schema_id: int
    ) -> pa.RecordBatch | None:
        """Decode values that are all sound records framed with `schema_id`.

        None means that they are not, or may not be: look at them one by one. Framing,
        sizes and soundness are seen in one pass over the values.
        """
        if not self.fast:
            return None
        parts: list[pa.RecordBatch] = []
        try:
            for begin in range(0, len(values), AT_ONCE):
                chunk = values[begin : begin + AT_ONCE]
                tailed = [value + TAIL for value in chunk]  # type: ignore[operator]  # what is None raises
                if max(map(len, tailed)) - len(TAIL) > self.largest:
                    return None
                if self._has_blocks and NO_BLOCK in b"".join(tailed):
                    return None
                rows, part = self._deserialized(
                    tailed, np.arange(len(chunk)), schema_id
                )
                if len(rows) < len(chunk):
                    return None
                parts.append(part)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a Rust panic is a BaseException
            return None
        return self._joined(parts)

    def decode(self, records: Sequence[bytes]) -> Decoded:
        """Decode framed records; refused ones are reported, never raised."""
        rows = np.arange(len(records))
        sizes = np.fromiter(map(len, records), np.int64, len(records))
        if (large := sizes > self.largest).any():
            return self._without(rows[large], records)
        if not self.fast:
            return self._decode_safe(records, rows)
        parts: list[Part] = []
        failed: list[int] = []
        for begin in range(0, len(records), AT_ONCE):
            part = self._tried([*map(tail, records[begin : begin + AT_ONCE])])
            if part is None:
                failed += range(begin, min(begin + AT_ONCE, len(records)))
            else:
                parts.append((part[0] + begin, part[1]))
        if failed:
            parts += self._screened(records, np.array(failed))
        done = sum(len(part_rows) for part_rows, _ in parts)
        if done == len(records) and not failed:
            return Decoded(rows, self._joined([part for _, part in parts]))
        missing = np.ones(len(records), bool)
        for part_rows, _ in parts:
            missing[part_rows] = False
        left = rows[missing]
        again = self._decode_safe([records[row] for row in left.tolist()], left)
        if len(again.rows) or not parts:
            parts.append((again.rows, again.columns))
        both = np.concatenate([part_rows for part_rows, _ in parts])
        joined = self._joined([part for _, part in parts])
        if (np.diff(both) < 0).any():
            order = np.argsort(both)
            both, joined = both[order], joined.take(pa.array(order))
        return Decoded(both, joined, again.refusals)

    def _screened(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> list[Part]:
        """Decode what fits the schema of records whose batches failed, in order."""
        if len(rows) <= SMALLEST_FAST:
            return []
        tailed = [records[row] + TAIL for row in rows.tolist()]
        fits = fitting(self.type, tailed, FRAME, len(TAIL))
        rows, tailed = rows[fits], list(compress(tailed, fits))
        parts = []
        for begin in range(0, len(rows), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            parts += self._halved(tailed[part], rows[part])
        return parts

    def _halved(self, tailed: list[bytes], rows: NDArray[np.int64]) -> list[Part]:
        """Decode what the fast codec takes, in halves where it fails all the same."""
        if (part := self._tried(tailed)) is not None:
            return [(rows[part[0]], part[1])]
        if len(tailed) <= SMALLEST_FAST:
            return []
        half = len(tailed) // 2
        first = self._halved(tailed[:half], rows[:half])
        return first + self._halved(tailed[half:], rows[half:])

    def _tried(self, tailed: list[bytes]) -> Part | None:
        """Decode at once; None where the fast codec fails on any of them."""
        if not tailed or (self._has_blocks and NO_BLOCK in b"".join(tailed)):
            return None
        try:
            return self._deserialized(tailed, np.arange(len(tailed)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a Rust panic is a BaseException
            return None

    def _without(self, large: NDArray[np.int64], records: Sequence[bytes]) -> Decoded:
        """Decode all but the records that are too large to be tried."""
        rows = np.setdiff1d(np.arange(len(records)), large)
        rest = self.decode([records[row] for row in rows.tolist()])
        why = f"The record is larger than {self.largest:,} bytes, which its schema is "
        refused = [
            Refusal(row, "too_large", f"{why}read to.") for row in large.tolist()
        ]
        refused += [
            Refusal(int(rows[one.row]), one.reason, one.sentence)
            for one in rest.refusals
        ]
        return Decoded(rows[rest.rows], rest.columns, refused)

    def _deserialized(
        self,
        tailed: list[bytes],
        rows: NDArray[np.int64],
        schema_id: int | None = None,
    ) -> Part:
        """Decode at once; gives the sound records, raises whatever the codec does.

        With `schema_id` only those are sound that are framed with it.
        """
        batch: pa.RecordBatch = pyruhvro.deserialize_array(tailed, self._framed)
        batch.validate()
        sound = np.ones(len(tailed), bool)
        for index, expected in enumerate(EXPECTED):
            ends = batch.column(f"_end{index}").to_numpy().view("<u8")
            sound &= ends == expected
        if schema_id is not None:
            magic, framed = batch.column(0), batch.column(1)
            sound &= framed.to_numpy().view(">i4") == schema_id
            sound &= ~magic.to_numpy(zero_copy_only=False)
        columns = batch.select(self.schema.names)
        if not sound.all():
            columns, rows = columns.filter(pa.array(sound)), rows[sound]
        made = [
            restore(one.type, columns.column(place))
            for place, one in enumerate(self.type.fields)
        ]
        whole = pa.RecordBatch.from_arrays(made, schema=self.schema)
        whole.validate(full=True)
        return rows, whole

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
            done, columns = self._deserialized([one + TAIL for one in records], rows)
            alike = columns.equals(safe.columns)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - whatever it is, the safe codec remains
            return False
        return len(done) == len(records) and bool(alike)


FRAMING = [{"name": "_magic", "type": "boolean"}, {"name": "_id", "type": "float"}]
ENDS = [{"name": f"_end{i}", "type": "double"} for i in range(len(EXPECTED))]


def _has_blocks(of: Type) -> bool:
    inner = [one.type for one in of.fields] or of.parts
    return of.kind in {"array", "map"} or any(map(_has_blocks, inner))


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
