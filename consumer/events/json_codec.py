"""Decode JSON records into typed columns: a fast and a safe way, as for Avro.

Enters: records with five bytes of framing (which do not count) in front of an object.
Leaves: the configured columns; a field that is absent is null, others are not read.

Fast is pyarrow's reader, which is strict about types. Behind each record stands a mark,
an object with the record's row under a name that is drawn anew by each process: a
record that is no object, or several, or takes part in another, is in the way of the
marks. Safe is Python's parser, one record at a time.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from consumer.config.records import DECIMAL_COLUMN
from consumer.events.avro_types import LOGICAL, PLAIN, Field, Type
from consumer.events.codecs import LARGEST_RECORD, SAMPLE, Decoded, Refusal
from consumer.events.framing import FRAME
from consumer.events.made_up import datum
from consumer.events.strict import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

ROW: Final = f"row-{secrets.token_hex(8)}"
MARKED: Final = b'%b\n{"' + ROW.encode() + b'":%d}\n'
PART: Final = 256  # records, where some value of a batch has another type
# pyarrow takes these words for numbers, and JSON has none of them.
NO_NUMBERS: Final = (b"NaN", b"Inf")
MOST_BRACKETS: Final = 10_000
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
)
NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LONGEST_EXPONENT: Final = 100
EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - of times in UTC
MICROSECOND: Final = timedelta(microseconds=1)
SHORTS: Final = {
    "timestamp": ("long", "timestamp-micros"),
    "timestamp-micros": ("long", "timestamp-micros"),
    "timestamp-millis": ("long", "timestamp-millis"),
    "date": ("int", "date"),
}


def columns_type(columns: Mapping[str, Any]) -> Type:
    """Give the configured columns as the type of a record."""
    fields = tuple(Field(name, _type(column), None) for name, column in columns.items())
    arrow = pa.struct([pa.field(one.name, one.type.arrow) for one in fields])
    return Type("record", arrow, name="Record", fields=fields)


def _type(column: Any) -> Type:  # noqa: ANN401 - TOML
    if isinstance(column, list):
        of = _type(column[0])
        return Type("array", pa.list_(of.arrow), parts=(of,))
    if not isinstance(column, str):
        return columns_type(column)
    if (found := DECIMAL_COLUMN.fullmatch(column)) is not None:
        arrow = pa.decimal128(int(found[1]), int(found[2]))
        return Type("bytes", arrow, logical="decimal")
    if column in SHORTS:
        kind, logical = SHORTS[column]
        # A text is told from a number by its name.
        name = "iso" if column in {"timestamp", "date"} else ""
        return Type(kind, LOGICAL[kind, logical], name=name, logical=logical)
    return Type(column, PLAIN[column])


class JsonCodec:
    """Decodes JSON records with configured columns; the same interface as `Codec`."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        """Take the columns, as `config.records` has checked them."""
        self.type = columns_type(columns)
        self.schema = pa.schema(list(self.type.arrow))
        self.fast = True
        fields = [*_wire(self.type), pa.field(ROW, pa.int64())]
        self._parsing = pj.ParseOptions(
            explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
        )

    def sample(self, count: int = SAMPLE) -> list[bytes]:
        """Make up a few framed records, always the same ones."""
        return [
            bytes(FRAME) + json.dumps(_made_up(self.type, place)).encode()
            for place in range(count)
        ]

    def sample_frame(self) -> pl.DataFrame:
        """Give made-up events as columns, to check expressions against."""
        return pl.DataFrame(self.decode(self.sample()).columns)

    def decode(self, records: Sequence[bytes]) -> Decoded:
        """Decode framed records; refused ones are reported, never raised."""
        records, rows = list(records), np.arange(len(records))
        slow = np.array([_is_odd(record) for record in records], bool)
        parts = self._decode_fast(records, rows[~slow])
        left = np.ones(len(records), bool)
        for part_rows, _ in parts:
            left[part_rows] = False
        again = self._decode_safe(records, rows[left])
        if len(again.rows) or not parts:
            parts.append((again.rows, again.columns))
        both = np.concatenate([part_rows for part_rows, _ in parts])
        joined = pa.concat_batches([part for _, part in parts])
        if len(again.rows):
            order = np.argsort(both)
            both, joined = both[order], joined.take(pa.array(order))
        return Decoded(both, joined, again.refusals)

    def _decode_fast(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """Decode what the fast way takes: at once, or without what is no JSON."""
        if found := self._tried(records, rows):
            return found
        rows = rows[[_is_json(records[row]) for row in rows.tolist()]]
        if found := self._tried(records, rows):
            return found
        parts = [rows[at : at + PART] for at in range(0, len(rows), PART)]
        return [one for part in parts for one in self._tried(records, part)]

    def _tried(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], pa.RecordBatch]]:
        if not len(rows):
            return []
        try:
            return [self._parsed(records, rows)]
        except (pa.ArrowException, pl.exceptions.PolarsError, ValueError):
            return []

    def _parsed(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], pa.RecordBatch]:
        """Parse at once, or raise."""
        text = b"".join([MARKED % (records[row][FRAME:], row) for row in rows.tolist()])
        text.decode()  # pyarrow looks at texts that are read only
        found = pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=self._parsing,
        ).combine_chunks()
        numbers = found.column(ROW).combine_chunks()
        expected = np.repeat(rows, 2)
        marks = pa.array(expected, mask=np.arange(len(expected)) % 2 == 0)
        if not numbers.equals(marks):
            raise ValueError(ROW)
        events = found.take(pa.array(np.arange(0, len(found), 2))).combine_chunks()
        made = [
            _restored(one.type, events.column(one.name).combine_chunks())
            for one in self.type.fields
        ]
        whole = pa.RecordBatch.from_arrays(made, schema=self.schema)
        whole.validate(full=True)
        return rows, whole

    def _decode_safe(
        self, records: Sequence[bytes], rows: NDArray[np.int64]
    ) -> Decoded:
        good, data, refusals = [], [], []
        for row in rows.tolist():
            try:
                data.append(self._value(records[row]))
            except Malformed as why:
                reason = "too_large" if len(records[row]) > LARGEST_RECORD else ""
                sentence = f"The record is not as [purchases.columns] say: {why}."
                refusals.append(Refusal(row, reason or "undecodable", sentence))
            else:
                good.append(row)
        made = pa.array(data, self.type.arrow)
        whole = pa.RecordBatch.from_struct_array(made)
        return Decoded(np.array(good, np.int64), whole, refusals)

    def _value(self, record: bytes) -> dict[str, Any]:
        if len(record) > LARGEST_RECORD:
            why = f"it has over {LARGEST_RECORD:,} bytes"
            raise Malformed(why)
        try:
            text = record[FRAME:].decode()
            found = json.loads(text, parse_float=_Literal, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            why = f"no JSON ({error})"
            raise Malformed(why) from error
        if not isinstance(found, _Object):
            why = "no JSON object"
            raise Malformed(why)
        made: dict[str, Any] = _converted(self.type, found)
        return made


class _Literal(str):
    """A number with a point or an exponent, as it is written."""

    __slots__ = ()


class _Object(dict[str, Any]):
    """An object that knows which of its names stand in it twice."""

    twice: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made.twice = frozenset(name for name in names if names.count(name) > 1)
    return made


def _is_json(record: bytes) -> bool:
    try:
        json.loads(record[FRAME:].decode())
    except (ValueError, RecursionError):
        return False
    return True


def _is_odd(record: bytes) -> bool:
    """Tell what the fast way must not see: null, words for numbers, endless nesting."""
    if record[FRAME : FRAME + 1] != b"{":
        return True
    if any(word in record for word in NO_NUMBERS) or len(record) > LARGEST_RECORD:
        return True
    return record.count(b"[") + record.count(b"{") > MOST_BRACKETS


def _wire(of: Type) -> pa.DataType:
    """Give the type that pyarrow's reader is asked for."""
    match of.kind:
        case "record":
            return pa.struct([(one.name, _wire(one.type)) for one in of.fields])
        case "array":
            return pa.list_(_wire(of.parts[0]))
        case "int":
            return pa.string()
        case "long" if of.logical and of.name != "iso":
            return pa.int64()
        case _:
            return of.arrow


def _restored(of: Type, found: pa.Array) -> pa.Array:
    """Make the column of what was parsed; raises where a text is no date."""
    if found.type == of.arrow:
        return found
    match of.kind:
        case "record":
            inner = [
                _restored(one.type, found.field(place))
                for place, one in enumerate(of.fields)
            ]
            return pa.StructArray.from_arrays(
                inner, fields=list(of.arrow), mask=found.is_null()
            )
        case "array":
            values = _restored(of.parts[0], found.values)
            return pa.Array.from_buffers(
                of.arrow,
                len(found),
                found.buffers()[:2],
                found.null_count,
                found.offset,
                [values],
            )
        case "int":
            if not pc.all(pc.match_substring_regex(found, f"^{DATE.pattern}$")).as_py():
                if found.null_count < len(found):
                    raise ValueError(str(of.arrow))
                return pa.nulls(len(found), of.arrow)
            return pl.Series(found).str.to_date("%Y-%m-%d").to_arrow()
        case _:
            return found.cast(of.arrow)


def _converted(of: Type, found: Any) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912 - JSON
    """Give a parsed value as `pyarrow.array` takes it; raises `Malformed`."""
    if found is None:
        return None
    match of.kind:
        case "record" if isinstance(found, _Object):
            made = {}
            for one in of.fields:
                try:
                    _must_stand_once(one.name, found)
                    made[one.name] = _converted(one.type, found.get(one.name))
                except Malformed as met:
                    met.path.append(one.name)
                    raise
            return made
        case "array" if isinstance(found, list):
            return _list(of.parts[0], found)
        case "string" if type(found) is str:
            return _text(found)
        case "boolean" if isinstance(found, bool):
            return found
        case "double" if type(found) in {int, _Literal, float}:
            return _double(found)
        case "bytes" if type(found) in {int, _Literal, str}:
            return _decimal(of, str(found))
        case "int" if type(found) is str and DATE.fullmatch(found):
            return _parsed_text(date.fromisoformat, found)
        case "long" if (
            of.name == "iso" and type(found) is str and TIME.fullmatch(found)
        ):
            return _instant(found)
        case "long" if of.name != "iso" and type(found) is int:
            if -(2**63) <= found < 2**63:
                return found
    why = f"{_shown(found)} where {_named(of)} is expected"
    raise Malformed(why)


def _list(of: Type, found: list[Any]) -> list[Any]:
    made: list[Any] = []
    try:
        for one in found:
            made.append(_converted(of, one))  # noqa: PERF401 - counted by the error
    except Malformed as met:
        met.path.append(f"[{len(made)}]")
        raise
    return made


def _must_stand_once(name: str, found: _Object) -> None:
    if name in found.twice:
        why = "it stands there twice"
        raise Malformed(why)


def _text(found: str) -> str:
    try:
        found.encode()
    except UnicodeEncodeError:
        why = "half a surrogate"
        raise Malformed(why) from None
    return found


def _double(found: Any) -> float:  # noqa: ANN401 - an int, or a number's text
    try:
        value = float(found)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        why = "a number too large for a double"
        raise Malformed(why)
    return value


def _decimal(of: Type, text: str) -> Decimal:
    exponent = re.split("[eE]", text)[-1] if NUMBER.fullmatch(text) else ""
    written = exponent != "" and (
        exponent == text or abs(int(exponent)) <= LONGEST_EXPONENT
    )
    value = Decimal(text).normalize() if written else Decimal("NaN")
    digits, scale = of.arrow.precision, of.arrow.scale
    if not value.is_finite() or -int(value.as_tuple().exponent) > scale:
        why = f"{_shown(text)} where {_named(of)} is expected"
        raise Malformed(why)
    if abs(value) >= Decimal(10) ** (digits - scale):
        why = f"a decimal of more than {digits} digits"
        raise Malformed(why)
    return value


def _instant(text: str) -> int:
    """Give microseconds since 1970; also for a time that UTC puts into year 10000."""
    found: datetime = _parsed_text(datetime.fromisoformat, text)
    offset = found.utcoffset() or timedelta()
    return (found.replace(tzinfo=None) - EPOCH) // MICROSECOND - offset // MICROSECOND


def _parsed_text(parse: Any, text: str) -> Any:  # noqa: ANN401 - a date or a time
    try:
        return parse(text)
    except ValueError:
        why = f"{_shown(text)} is no date or time"
        raise Malformed(why) from None


def _shown(found: Any) -> str:  # noqa: ANN401 - JSON
    text = json.dumps(found, ensure_ascii=False, default=str)
    return text if len(text) < 60 else f"{text[:59]}…"  # noqa: PLR2004 - a line's worth


def _named(of: Type) -> str:
    match of.kind:
        case "record":
            return "an object"
        case "array":
            return "a list"
        case "bytes":
            return f"a decimal({of.arrow.precision}, {of.arrow.scale})"
        case "int":
            return "a date (ISO 8601)"
        case "long" if of.name == "iso":
            return "a time (ISO 8601)"
        case kind:
            return f"a {kind}"


def _made_up(of: Type, place: int) -> Any:  # noqa: ANN401 - JSON
    """Make up a value; null, absent and empty ones are among them."""
    if place % 5 == 4 and of.kind != "record":  # noqa: PLR2004 - every fifth
        return None
    match of.kind:
        case "record":
            return {
                one.name: _made_up(one.type, place + number)
                for number, one in enumerate(of.fields)
            }
        case "array":
            return [_made_up(of.parts[0], place + i) for i in range(place % 4)]
        case "bytes":
            return str(Decimal(place % 10).scaleb(-of.arrow.scale))
        case _:
            schema: dict[str, Any] = {"type": of.kind, "logicalType": of.logical}
            made = datum(schema if of.logical else of.kind, place)
            if of.name != "iso" and isinstance(made, datetime):
                return int(made.timestamp() * 1000)
            return made.isoformat() if isinstance(made, date) else made
