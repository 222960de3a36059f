"""Read one Avro record as strictly as its specification allows: the safe codec.

Enters: a type and bytes. Leaves: Python values as `pyarrow.array` takes them for the
type's column, or `Malformed`, which says where and why. fastavro is not this: it reads
a boolean of 2, an enum index of -1 and numbers of any length, rounds decimals, follows
recursion into a crash, and does not say which branch of a union it read.
"""

from __future__ import annotations

import struct
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from consumer.events.avro_types import branch_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.events.avro_types import Type

Reader: TypeAlias = "Callable[[bytes, int], tuple[Any, int]]"

EARLY: Final = "the record ends early"
LONGEST_NUMBER: Final = 10
WORD: Final = 2**64
DIGITS: Final = Context(prec=80)
RANGES: Final = {
    "date": (-(2**31), 2**31),
    "time-millis": (0, 86_400_000),
    "time-micros": (0, 86_400_000_000),
}


class Malformed(Exception):  # noqa: N818 - a verdict about bytes, not an error of ours
    """The bytes are no value of the type; `path` grows outwards from where it is."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str] = []

    def __str__(self) -> str:
        """Say where, and why."""
        where = ".".join(reversed(self.path))
        return f"{where}: {self.why}" if where else self.why


def reader(of: Type) -> Reader:
    """Make what reads a type: from a buffer and a position, a value and the next."""
    return MAKERS[of.kind](of)


def long(buffer: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag number of up to 64 bits, written as short as it can be."""
    try:
        byte = buffer[at]
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - most are: the rest would take twice as long
            return (byte >> 1) ^ -(byte & 1), at
        found = byte & 0x7F
        shift = 7
        while byte & 0x80:
            if shift == 7 * LONGEST_NUMBER:
                why = f"a number of more than {LONGEST_NUMBER} bytes"
                raise Malformed(why)
            byte = buffer[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
    except IndexError:
        raise Malformed(EARLY) from None
    if byte == 0:
        why = "a number that is written longer than it need be"
        raise Malformed(why)
    if found >= WORD:
        why = "a number of more than 64 bits"
        raise Malformed(why)
    return (found >> 1) ^ -(found & 1), at


def _must_hold(buffer: bytes, at: int, size: int) -> None:
    if at + size > len(buffer):
        raise Malformed(EARLY)


def _number(of: Type) -> Reader:
    if of.logical not in RANGES:
        return long
    low, high = RANGES[of.logical]

    def read(buffer: bytes, at: int) -> tuple[int, int]:
        found, at = long(buffer, at)
        if not low <= found < high:
            why = f"{found} is out of range"
            raise Malformed(why)
        return found, at

    return read


def _boolean(buffer: bytes, at: int) -> tuple[bool, int]:
    _must_hold(buffer, at, 1)
    if buffer[at] > 1:
        why = f"a boolean of {buffer[at]}"
        raise Malformed(why)
    return buffer[at] == 1, at + 1


def _unpacked(layout: str) -> Reader:
    form = struct.Struct(layout)
    size, unpack = form.size, form.unpack_from

    def read(buffer: bytes, at: int) -> tuple[float, int]:
        _must_hold(buffer, at, size)
        return unpack(buffer, at)[0], at + size

    return read


def _sized(buffer: bytes, at: int) -> tuple[bytes, int]:
    size, at = long(buffer, at)
    if size < 0:
        why = f"a length of {size}"
        raise Malformed(why)
    _must_hold(buffer, at, size)
    return buffer[at : at + size], at + size


def _string(buffer: bytes, at: int) -> tuple[str, int]:
    found, at = _sized(buffer, at)
    try:
        return found.decode(), at
    except UnicodeDecodeError:
        why = "a text that is not UTF-8"
        raise Malformed(why) from None


def _bytes(of: Type) -> Reader:
    raw = _sized if of.kind == "bytes" else _fixed(of.size)
    if of.logical == "uuid":

        def read_uuid(buffer: bytes, at: int) -> tuple[str, int]:
            found, at = raw(buffer, at)
            return str(UUID(bytes=found)), at

        return read_uuid
    if of.logical != "decimal":
        return raw
    scale, most = of.arrow.scale, 10**of.arrow.precision

    def read(buffer: bytes, at: int) -> tuple[Decimal, int]:
        found, at = raw(buffer, at)
        unscaled = int.from_bytes(found, "big", signed=True)
        if abs(unscaled) >= most:
            why = f"a decimal of more than {of.arrow.precision} digits"
            raise Malformed(why)
        return Decimal(unscaled).scaleb(-scale, DIGITS), at

    return read


def _fixed(size: int) -> Reader:
    def read(buffer: bytes, at: int) -> tuple[bytes, int]:
        _must_hold(buffer, at, size)
        return buffer[at : at + size], at + size

    return read


def _enum(of: Type) -> Reader:
    symbols = of.symbols

    def read(buffer: bytes, at: int) -> tuple[str, int]:
        index, at = long(buffer, at)
        if not 0 <= index < len(symbols):
            why = f"symbol {index} of an enum of {len(symbols)}"
            raise Malformed(why)
        return symbols[index], at

    return read


def _union(of: Type) -> Reader:
    readers = [reader(part) for part in of.parts]
    wrapped = of.is_struct_of_branches
    names = [branch_name(p) if p.kind != "null" and wrapped else "" for p in of.parts]

    def read(buffer: bytes, at: int) -> tuple[Any, int]:
        index, at = long(buffer, at)
        if not 0 <= index < len(readers):
            why = f"branch {index} of a union of {len(readers)}"
            raise Malformed(why)
        found, at = readers[index](buffer, at)
        return ({names[index]: found} if names[index] else found), at

    return read


def _blocks(of: Type) -> Reader:
    """Read an array or a map; every item takes at least a byte, by `avro_types`."""
    (part,) = of.parts
    item = reader(part)
    if of.kind == "map":
        value = item

        def entry(buffer: bytes, at: int) -> tuple[tuple[str, Any], int]:
            key, at = _string(buffer, at)
            found, at = value(buffer, at)
            return (key, found), at

        item = entry

    def read(buffer: bytes, at: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        try:
            while True:
                count, at = long(buffer, at)
                if count == 0:
                    return found, at
                if count < 0:
                    count = -count
                    _, at = long(buffer, at)
                _must_hold(buffer, at, count)
                for _ in range(count):
                    one, at = item(buffer, at)
                    found.append(one)
        except Malformed as met:
            met.path.append(f"[{len(found)}]")
            raise

    return read


def _record(of: Type) -> Reader:
    readers = [(one.name, reader(one.type)) for one in of.fields]

    def read(buffer: bytes, at: int) -> tuple[dict[str, Any], int]:
        found = {}
        name = ""
        try:
            for name, read_field in readers:
                found[name], at = read_field(buffer, at)
        except Malformed as met:
            met.path.append(name)
            raise
        return found, at

    return read


MAKERS: Final[dict[str, Callable[[Type], Reader]]] = {
    "null": lambda _: lambda _buffer, at: (None, at),
    "boolean": lambda _: _boolean,
    "int": _number,
    "long": _number,
    "float": lambda _: _unpacked("<f"),
    "double": lambda _: _unpacked("<d"),
    "bytes": _bytes,
    "fixed": _bytes,
    "string": lambda _: _string,
    "enum": _enum,
    "array": _blocks,
    "map": _blocks,
    "union": _union,
    "record": _record,
}
