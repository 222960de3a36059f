"""The fast codec's schema of a type, and the way from what it decodes to the column.

pyruhvro panics on bytes, fixed, decimals and times. But a schema says only how bytes
are read: bytes are written like a text, a fixed like floats behind each other, a
record of one field like that field. So each type is read as one that it handles, and
its memory is looked at anew as what it is.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.events.avro_types import UUID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from consumer.events.avro_types import Type

DOUBLE, FLOAT = 8, 4
DECIMAL_BYTES: Final = 16
TIMES: Final = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
NEGATIVE: Final = 0x80  # a first byte from here on: the number is negative
DASHES: Final = (8, 13, 18, 23)


class Unrestorable(ValueError):  # noqa: N818 - a verdict about a batch
    """Some value is none of its type; the safe codec says which."""


def can_be_fast(of: Type) -> bool:
    """Tell whether the fast codec may be tried."""
    if of.kind == "fixed":
        return of.size > 0 and of.size % FLOAT == 0
    inner = [one.type for one in of.fields] or of.parts
    return all(map(can_be_fast, inner))


def wire_schema(of: Type, before: list[Any]) -> dict[str, Any]:
    """Give the schema of a record for the fast codec, with fields in front of it."""
    names = (f"r{number}" for number in count())
    fields = [{"name": f.name, "type": _wire(f.type, names)} for f in of.fields]
    return {"type": "record", "name": "Record", "fields": [*before, *fields]}


def is_restored(of: Type) -> bool:
    """Tell whether a column is more than a cast away from what is decoded."""
    # A null's column has no memory, and casting what surrounds it loses its length.
    special = of.kind in {"bytes", "fixed", "null"} or of.logical in TIMES
    inner = [one.type for one in of.fields] or of.parts
    return special or len(of.branches) > 1 or any(map(is_restored, inner))


def _wire(of: Type, names: Iterator[str]) -> Any:  # noqa: ANN401, C901, PLR0911 - JSON
    match of.kind:
        case "int" if of.logical == "date":
            return {"type": "int", "logicalType": "date"}
        case "int" | "long":
            if of.logical.endswith(("timestamp-millis", "timestamp-micros")):
                logical = of.logical.removeprefix("local-")
                return {"type": "long", "logicalType": logical}
            return "long"
        case "bytes":
            return "string"
        case "fixed":
            return _floats(of.size, names)
        case "enum":
            name = next(names)
            return {"type": "enum", "name": name, "symbols": list(of.symbols)}
        case "array":
            return {"type": "array", "items": _wire(of.parts[0], names)}
        case "map":
            return {"type": "map", "values": _wire(of.parts[0], names)}
        case "union" if len(of.branches) > 1:
            return [_branch(part, names) for part in of.parts]
        case "union":
            return [_wire(part, names) for part in of.parts]
        case "record":
            return _record([(f.name, _wire(f.type, names)) for f in of.fields], names)
        case _:
            return of.kind


def _branch(of: Type, names: Iterator[str]) -> Any:  # noqa: ANN401 - Avro as JSON
    """Wrap a branch, since two of them may be read as the same type."""
    if of.kind == "null":
        return "null"
    return _record([("value", _wire(of, names))], names)


def _floats(size: int, names: Iterator[str]) -> dict[str, Any]:
    kinds = ["double"] * (size // DOUBLE) + ["float"] * (size % DOUBLE // FLOAT)
    return _record([(f"f{place}", kind) for place, kind in enumerate(kinds)], names)


def _record(fields: list[tuple[str, Any]], names: Iterator[str]) -> dict[str, Any]:
    name = next(names)
    listed = [{"name": field, "type": kind} for field, kind in fields]
    return {"type": "record", "name": name, "fields": listed}


def restore(of: Type, found: pa.Array) -> pa.Array:  # noqa: C901, PLR0911 - a kind each
    """Make the type's column of what the fast codec decoded.

    Raises `Unrestorable`, or what pyarrow raises, where a value is none of its type.
    """
    if not is_restored(of):
        return found if found.type == of.arrow else found.cast(of.arrow)
    if not len(found):
        return pa.array([], of.arrow)
    match of.kind:
        case "union" if len(of.branches) > 1:
            return _branches(of, found)
        case "union":
            return restore(of.branches[0], found)
        case "array":
            values = restore(of.parts[0], found.values)
            return _rebuilt(of.arrow, found, 2, values)
        case "map":
            values = restore(of.parts[0], found.items)
            entries = pa.StructArray.from_arrays(
                [found.keys, values], fields=list(of.arrow.field(0).type)
            )
            return _rebuilt(of.arrow, found, 2, entries)
        case "record":
            inner = [
                restore(one.type, found.field(place))
                for place, one in enumerate(of.fields)
            ]
            return _rebuilt(of.arrow, found, 1, *inner)
        case "null":
            return found
        case "bytes":
            raw = _rebuilt(pa.binary(), found, 3)
            return _decimals(of.arrow, raw) if of.logical == "decimal" else raw
        case "fixed":
            return _fixed(of, found)
        case _:
            return _times(of, found)


def _rebuilt(
    kind: pa.DataType, found: pa.Array, buffers: int, *inner: pa.Array
) -> pa.Array:
    """Look at an array's own buffers as another type, with other children."""
    return pa.Array.from_buffers(
        kind,
        len(found),
        found.buffers()[:buffers],
        found.null_count,
        found.offset,
        list(inner),
    )


def _times(of: Type, found: pa.Array) -> pa.Array:
    bounds = pc.min_max(found)
    if bounds["min"].is_valid and not (
        bounds["min"].as_py() >= 0 and bounds["max"].as_py() < TIMES[of.logical]
    ):
        raise Unrestorable(of.logical)
    number = pa.int32() if of.logical == "time-millis" else pa.int64()
    return found.cast(number).cast(of.arrow)


def _branches(of: Type, found: pa.Array) -> pa.Array:
    """Make one column of a union's branches: a field each, or one where alike."""
    ids = np.frombuffer(found.buffers()[1], np.int8)[found.offset :][: len(found)]
    rows = np.arange(len(found))
    arms, places = [], []
    for place, part in enumerate(of.parts):
        if part.kind != "null":
            arms.append(restore(part, found.field(place).field(0)))
            places.append(place)
    at = {place: arm for arm, place in enumerate(places)}
    lookup = np.array([at.get(place, -1) for place in range(len(of.parts))])
    arm_of = lookup[ids]
    if not of.is_struct_of_branches:
        alike = pa.concat_arrays([arm.cast(of.arrow) for arm in arms])
        picked = arm_of * len(found) + rows
        return alike.take(pa.array(picked, mask=arm_of < 0))
    inner = [
        arm.take(pa.array(rows, mask=arm_of != number))
        for number, arm in enumerate(arms)
    ]
    return pa.StructArray.from_arrays(
        inner, fields=list(of.arrow), mask=pa.array(arm_of < 0)
    )


def _fixed(of: Type, found: pa.Array) -> pa.Array:
    """Put the floats that a fixed was read as behind each other again."""
    rows = len(found)
    parts = []
    for place in range(found.type.num_fields):
        column = found.field(place)
        width = DOUBLE if pa.types.is_float64(column.type) else FLOAT
        whole = np.frombuffer(column.buffers()[1], f"<u{width}")[:rows]
        parts.append(whole.view(np.uint8).reshape(rows, width))
    raw = np.ascontiguousarray(np.hstack(parts))
    if of.logical == "decimal":
        wide = _signed(raw[:, ::-1], np.full(rows, of.size))
        return _masked(_made(of.arrow, rows, wide), found)
    if of.logical == "uuid":
        raw = _hyphened(raw)
    offsets = np.arange(rows + 1, dtype=np.int32) * raw.shape[1]
    return _masked(_made(of.arrow, rows, offsets, raw), found)


def _made(kind: pa.DataType, rows: int, *data: NDArray[Any]) -> pa.Array:
    """Make an array of its buffers, without nulls."""
    buffers = [pa.py_buffer(np.ascontiguousarray(one)) for one in data]
    return pa.Array.from_buffers(kind, rows, [None, *buffers])


def _masked(made: pa.Array, found: pa.Array) -> pa.Array:
    """Make null what was null."""
    if not found.null_count:
        return made
    gone = found.is_null().to_numpy(zero_copy_only=False)
    return made.take(pa.array(np.arange(len(found)), mask=gone))


def _hyphened(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write 16 bytes a row as the 36 characters of a UUID."""
    digits = np.empty((len(raw), UUID_BYTES * 2), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = HEX[raw >> 4], HEX[raw & 15]
    width = UUID_BYTES * 2 + len(DASHES)
    text = np.full((len(raw), width), ord("-"), np.uint8)
    text[:, [place for place in range(width) if place not in DASHES]] = digits
    return text


def _decimals(kind: pa.DataType, found: pa.Array) -> pa.Array:
    """Read big-endian two's complements of any length up to 16 bytes."""
    offsets = np.frombuffer(found.buffers()[1], np.int32)[: len(found) + 1]
    ends = offsets[1:].astype(np.int64)
    sizes = np.diff(offsets)
    longest = int(sizes.max())
    if longest > DECIMAL_BYTES:
        raise Unrestorable(str(kind))
    data = np.frombuffer(found.buffers()[2] or b"", np.uint8)
    little = np.zeros((len(found), max(longest, 1)), np.uint8)
    for place in range(longest):
        has = sizes > place
        little[has, place] = data[ends[has] - 1 - place]
    return _masked(_made(kind, len(found), _signed(little, sizes)), found)


def _signed(little: NDArray[np.uint8], sizes: NDArray[Any]) -> NDArray[np.uint8]:
    """Widen little-endian numbers of `sizes` bytes to 16, with their sign."""
    rows, width = little.shape
    if width > DECIMAL_BYTES:
        sign = np.where(little[:, DECIMAL_BYTES - 1] >= NEGATIVE, 255, 0)[:, None]
        if (little[:, DECIMAL_BYTES:] != sign).any():
            raise Unrestorable(str(width))
        return np.ascontiguousarray(little[:, :DECIMAL_BYTES])
    wide = np.zeros((rows, DECIMAL_BYTES), np.uint8)
    wide[:, :width] = little
    if rows:
        last = little[np.arange(rows), np.maximum(sizes - 1, 0).astype(np.int64)]
        negative = np.flatnonzero((last >= NEGATIVE) & (sizes > 0))
        beyond = np.arange(DECIMAL_BYTES) >= sizes[negative][:, None]
        wide[negative] = np.where(beyond, 255, wide[negative])
    return wide
