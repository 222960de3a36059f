"""Walk encoded records by a program, and say which hold one value of a type, whole.

Enters: the bytes of records, and a program made of a type by `events.screen`. Leaves:
a flag for each record. Nothing is decoded, nothing is allocated, and no byte outside of
a record is read. It allows what `events.strict` allows: property tests and `make fuzz`
hold the two to each other.
"""

# ruff: noqa: ANN401, C901, PLR0911, PLR0912, PLR0913, PLR0915, PLR0917, PLR2004
# numba infers types, compiles functions of arrays and numbers, and knows no objects.
from __future__ import annotations

from typing import Any, Final

import numpy as np

from consumer.compiled import compiled

# Operations: what stands behind one in a program are its arguments.
END: Final = 0
SKIP: Final = 1  # so many bytes of any kind
BOOLEAN: Final = 2
NUMBER: Final = 3  # any
RANGE: Final = 4  # a number; the least, and the first that is too great
BYTES: Final = 5
TEXT: Final = 6
DECIMAL: Final = 7  # bytes; the first magnitude that is too great, in two halves
FIXED_DECIMAL: Final = 8  # so many bytes; the same
UNION: Final = 9  # so many branches; where each begins
JUMP: Final = 10  # where to
LIST: Final = 11  # begins
ITEM: Final = 12  # the next one of a list; where to if there is none

DECIMAL_BYTES: Final = 16  # of a column
NOWHERE: Final = -1


@compiled(entry=True)
def screen(
    program: Any, data: Any, starts: Any, ends: Any, counts: Any, fits: Any
) -> None:
    """Flag the records that fit; `counts` has room for each depth of lists."""
    for row in range(len(starts)):
        fits[row] = _fits(program, data, starts[row], ends[row], counts)


@compiled()
def _fits(program: Any, data: Any, at: int, end: int, counts: Any) -> bool:
    place = depth = 0
    while True:
        operation = program[place]
        place += 1
        if operation in (TEXT, BYTES):
            size, at = _number(data, at, end)
            if at < 0 or size < 0 or size > end - at:
                return False
            if operation == TEXT and not _is_text(data, at, at + size):
                return False
            at += size
        elif operation == NUMBER:
            _, at = _number(data, at, end)
            if at < 0:
                return False
        elif operation == UNION:
            branch, at = _number(data, at, end)
            if at < 0 or branch < 0 or branch >= program[place]:
                return False
            place = program[place + 1 + branch]
        elif operation == JUMP:
            place = program[place]
        elif operation == ITEM:
            if counts[depth - 1] == 0:
                count, at = _number(data, at, end)
                if at >= 0 and count < 0:
                    count = -count
                    _, at = _number(data, at, end)
                # An item takes a byte or more; -2**63 has no counterpart.
                if at < 0 or count < 0 or count > end - at:
                    return False
                counts[depth - 1] = count
            if counts[depth - 1] == 0:
                depth -= 1
                place = program[place]
            else:
                counts[depth - 1] -= 1
                place += 1
        elif operation == LIST:
            counts[depth] = 0
            depth += 1
        elif operation == SKIP:
            at += program[place]
            place += 1
            if at > end:
                return False
        elif operation == RANGE:
            number, at = _number(data, at, end)
            if at < 0 or number < program[place] or number >= program[place + 1]:
                return False
            place += 2
        elif operation == BOOLEAN:
            if at >= end or data[at] > 1:
                return False
            at += 1
        elif operation in (DECIMAL, FIXED_DECIMAL):
            if operation == DECIMAL:
                size, at = _number(data, at, end)
                if at < 0 or size > DECIMAL_BYTES:
                    return False
            else:
                size = program[place]
                place += 1
            if size < 0 or size > end - at:
                return False
            high, low = np.uint64(program[place]), np.uint64(program[place + 1])
            if not _is_below(data, at, size, high, low):
                return False
            at += size
            place += 2
        else:
            return at == end


@compiled()
def _number(data: Any, at: int, end: int) -> tuple[Any, int]:
    """Read a number, and the place behind it: `NOWHERE` if it is none.

    One that is written longer than it need be is none, nor one of more than 64 bits.
    """
    if at >= end:
        return np.int64(0), NOWHERE
    byte = data[at]
    at += 1
    value = np.uint64(byte & 0x7F)
    if byte > 0x7F:
        shift = np.uint64(7)
        while byte > 0x7F:
            if at >= end or shift > 63:
                return np.int64(0), NOWHERE
            byte = data[at]
            at += 1
            value |= np.uint64(byte & 0x7F) << shift
            shift += np.uint64(7)
        if byte == 0 or (shift > 63 and byte > 1):
            return np.int64(0), NOWHERE
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at


@compiled()
def _is_text(data: Any, at: int, end: int) -> bool:
    """Tell whether bytes are UTF-8: no surrogates, nothing longer than it need be."""
    beyond_ascii = np.uint8(0)
    for place in range(at, end):
        beyond_ascii |= data[place]
    if beyond_ascii < 0x80:
        return True
    while at < end:
        first = data[at]
        at += 1
        if first < 0x80:
            continue
        least, most = 0x80, 0xBF  # of the second byte
        if 0xC2 <= first < 0xE0:
            more = 1
        elif 0xE0 <= first < 0xF0:
            more = 2
            least = 0xA0 if first == 0xE0 else least
            most = 0x9F if first == 0xED else most
        elif 0xF0 <= first < 0xF5:
            more = 3
            least = 0x90 if first == 0xF0 else least
            most = 0x8F if first == 0xF4 else most
        else:
            return False
        if more > end - at or not least <= data[at] <= most:
            return False
        for place in range(at + 1, at + more):
            if data[place] & 0xC0 != 0x80:
                return False
        at += more
    return True


@compiled()
def _is_below(data: Any, at: int, size: int, high: Any, low: Any) -> bool:
    """Tell whether a big-endian two's complement is nearer to 0 than a limit."""
    negative = size > 0 and data[at] > 0x7F
    fill = np.uint64(0xFF if negative else 0)
    for place in range(at, at + size - DECIMAL_BYTES):
        if data[place] != fill:
            return False
    upper = lower = np.uint64(0xFFFFFFFFFFFFFFFF if negative else 0)
    for place in range(max(at, at + size - DECIMAL_BYTES), at + size):
        upper = upper << np.uint64(8) | lower >> np.uint64(56)
        lower = lower << np.uint64(8) | np.uint64(data[place])
    if negative != (upper > np.uint64(0x7FFFFFFFFFFFFFFF)):
        return False  # its sign was among the bytes that have no place
    if negative:
        lower = ~lower + np.uint64(1)
        upper = ~upper + np.uint64(1 if lower == 0 else 0)
    return bool(upper < high or (upper == high and lower < low))
