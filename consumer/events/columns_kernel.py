"""Walk encoded records by a program, and write their values as columns.

Enters: the bytes of records, a program and a table of columns made of a type by
`events.layout`, memory from `events.columns`. Leaves: a flag for each record, and the
values of those that hold one value of the type, whole. What a record left behind that
turned out not to fit is written over by the next one. No byte outside of a record means
anything, and nothing is allocated. It takes what `events.strict` takes: property tests
and `make fuzz` hold the two to each other.

The walk is one loop, long on purpose: each operation moves on in the program, the
record and the rows, and would hand all of that in and out as a function of its own.
"""

# ruff: noqa: ANN401, C901, PLR0912, PLR0913, PLR0915, PLR0917, PLR2004
# numba infers types, compiles functions of arrays and numbers, and knows no objects.
from __future__ import annotations

from typing import Any, Final

import numpy as np

from consumer.compiled import compiled

# Operations: behind one stand its column, if it has one, and its arguments. Places in a
# program are distances from behind the arguments.
END: Final = 0
BOOLEAN: Final = 1
NUMBER: Final = 2  # any
RANGE: Final = 3  # a number; the least, and the first that is too great
TEXT: Final = 4
BYTES: Final = 5
FIXED: Final = 6  # so many bytes
DOUBLE: Final = 7
FLOAT: Final = 8
WIDENED: Final = 9  # a float as a double
UUID: Final = 10  # 16 bytes
SYMBOL: Final = 11  # so many symbols; where the first is in their table
DECIMAL: Final = 12  # bytes; the first magnitude that is too great, in two halves
FIXED_DECIMAL: Final = 13  # the same; so many bytes
NULL: Final = 14  # of this column and those behind it, so many
OPTIONAL: Final = 15  # which branch is a value; where it begins, or null follows
UNION: Final = 16  # so many branches; where each begins
JUMP: Final = 17  # where to
LIST: Final = 18  # begins; the group of its items
ITEM: Final = 19  # the next one; the list's own group, an item's least bytes, the end
NEXT: Final = 20  # an item ends; how far back `ITEM` is

# What a column is, besides one word a row.
WORD: Final = 0
VIEW: Final = 1  # two words a row: Arrow's view of a text, or 16 bytes
OFFSET: Final = 2  # where a list begins in its group
FLAG: Final = 3  # nothing: a record, or null

# What is known of a column; its places are those of a batch's memory.
KIND: Final = 0
GROUP: Final = 1
ITEMS: Final = 2  # the group of a list's items
WORDS: Final = 0  # where its first word is
NULLS: Final = 1  # where its first null flag is

DECIMAL_BYTES: Final = 16  # of a column
NOWHERE: Final = -1
INLINE: Final = 12  # bytes of a text that stand in its view
SYMBOLS: Final = 0  # the buffers that views are of
DATA: Final = 1


@compiled(entry=True)
def decode(
    program: Any,
    symbols: Any,
    table: Any,
    data: Any,
    starts: Any,
    ends: Any,
    first: int,
    places: Any,
    rooms: Any,
    words: Any,
    nulls: Any,
    rows: Any,
    before: Any,
    counts: Any,
    lacking: Any,
    fits: Any,
) -> int:
    """Decode from record `first` on; give the one that there was no room for.

    `rows` are those of each group so far, `rooms` how many there may be; `before` is as
    long, and `counts` has room for each depth of lists. `lacking` says which group has
    no room, and how many rows it needs. A null's flag is 1, all others are 0, also
    where nothing was written yet.
    """
    for record in range(first, len(starts)):
        for group in range(len(rows)):
            before[group] = rows[group]
        lacking[0] = NOWHERE
        at, end = starts[record], ends[record]
        fits[record] = _walk(
            program,
            symbols,
            data,
            at,
            end,
            table,
            places,
            rooms,
            words,
            nulls,
            rows,
            counts,
            lacking,
        )
        if not fits[record]:
            for column in range(len(table)):
                group = table[column, GROUP]
                # A row that was begun may hold nulls, too.
                behind = min(rows[group] + 1, rooms[group])
                for row in range(before[group], behind):
                    nulls[places[column, NULLS] + row] = 0
            for group in range(len(rows)):
                rows[group] = before[group]
            if lacking[0] != NOWHERE:
                return record
    return len(starts)


@compiled()
def _walk(
    program: Any,
    symbols: Any,
    data: Any,
    at: int,
    end: int,
    table: Any,
    places: Any,
    rooms: Any,
    words: Any,
    nulls: Any,
    rows: Any,
    counts: Any,
    lacking: Any,
) -> bool:
    place = depth = group = 0
    row = rows[0]
    while True:
        operation, column = program[place], program[place + 1]
        place += 2
        if operation in (TEXT, BYTES, FIXED):
            if operation == FIXED:
                size = program[place]
                place += 1
            else:
                size, at = _number(data, at, end)
                if at < 0:
                    break
            if size < 0 or size > end - at:
                break
            to = places[column, WORDS] + 2 * row
            short = _view(data, at, size, words, to)
            if operation == TEXT and not short and not _is_text(data, at, at + size):
                break
            at += size
        elif operation == NUMBER:
            number, at = _number(data, at, end)
            if at < 0:
                break
            words[places[column, WORDS] + row] = np.uint64(number)
        elif operation == OPTIONAL:
            branch, at = _number(data, at, end)
            if at < 0 or branch < 0 or branch > 1:
                break
            place += 2 + (program[place + 1] if branch == program[place] else 0)
        elif operation == NULL:
            for one in range(column, column + program[place]):
                kind = table[one, KIND]
                to = places[one, WORDS]
                nulls[places[one, NULLS] + row] = 1
                if kind == VIEW:
                    words[to + 2 * row] = words[to + 2 * row + 1] = 0
                elif kind == OFFSET:
                    words[to + row] = np.uint64(rows[table[one, ITEMS]])
                elif kind == WORD:
                    words[to + row] = 0
            place += 1
        elif operation == JUMP:
            place += program[place] + 1
        elif operation == UNION:
            branch, at = _number(data, at, end)
            if at < 0 or branch < 0 or branch >= program[place]:
                break
            place += 1 + program[place] + program[place + 1 + branch]
        elif operation == ITEM:
            count = counts[depth - 1]
            if count == 0:
                count, at = _number(data, at, end)
                if at >= 0 and count < 0:
                    count = -count
                    _, at = _number(data, at, end)
                # -2**63 has no counterpart.
                if at < 0 or count < 0 or count > (end - at) // program[place + 1]:
                    break
                if count > rooms[group] - row:
                    lacking[0], lacking[1] = group, row + count
                    break
            if count == 0:
                depth -= 1
                rows[group] = row
                group = program[place]
                row = rows[group]
                place += 3 + program[place + 2]
            else:
                counts[depth - 1] = count - 1
                place += 3
        elif operation == NEXT:
            row += 1
            place += 1 - program[place]
        elif operation == LIST:
            rows[group] = row
            group = program[place]
            words[places[column, WORDS] + row] = np.uint64(rows[group])
            row = rows[group]
            counts[depth] = 0
            depth += 1
            place += 1
        elif operation == RANGE:
            number, at = _number(data, at, end)
            if at < 0 or number < program[place] or number >= program[place + 1]:
                break
            words[places[column, WORDS] + row] = np.uint64(number)
            place += 2
        elif operation == SYMBOL:
            number, at = _number(data, at, end)
            if at < 0 or number < 0 or number >= program[place]:
                break
            to, symbol = places[column, WORDS] + 2 * row, program[place + 1] + number
            words[to], words[to + 1] = symbols[symbol, 0], symbols[symbol, 1]
            place += 2
        elif operation == DOUBLE:
            if end - at < 8:
                break
            words[places[column, WORDS] + row] = _eight(data, at)
            at += 8
        elif operation == BOOLEAN:
            if at >= end or data[at] > 1:
                break
            words[places[column, WORDS] + row] = np.uint64(data[at])
            at += 1
        elif operation in (FLOAT, WIDENED):
            if end - at < 4:
                break
            bits = _four(data, at)
            if operation == WIDENED:
                bits = np.float64(np.uint32(bits).view(np.float32)).view(np.uint64)
            words[places[column, WORDS] + row] = bits
            at += 4
        elif operation in (DECIMAL, FIXED_DECIMAL):
            if operation == DECIMAL:
                size, at = _number(data, at, end)
                if at < 0:
                    break
            else:
                size = program[place + 2]
            if size < 0 or size > end - at:
                break
            high, low = np.uint64(program[place]), np.uint64(program[place + 1])
            to = places[column, WORDS] + 2 * row
            if not _decimal(data, at, size, high, low, words, to):
                break
            at += size
            place += 2 if operation == DECIMAL else 3
        elif operation == UUID:
            if end - at < 16:
                break
            to = places[column, WORDS] + 2 * row
            words[to], words[to + 1] = _eight(data, at), _eight(data, at + 8)
            at += 16
        else:
            if at != end:
                break
            rows[0] = row + 1
            return True
    rows[group] = row
    return False


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
def _four(data: Any, at: int) -> Any:
    """Read four bytes, the lowest first; the compiler makes one load of them."""
    place = np.uint64(at)
    return (
        np.uint64(data[place])
        | np.uint64(data[place + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[place + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[place + np.uint64(3)]) << np.uint64(24)
    )


@compiled()
def _eight(data: Any, at: int) -> Any:
    """Read eight bytes, the lowest first."""
    return _four(data, at) | _four(data, at + 4) << np.uint64(32)


@compiled()
def _lowest(word: Any, size: int) -> Any:
    """Keep the lowest bytes of a word, so many; none if fewer."""
    if size >= 8:
        return word
    return word & ((np.uint64(1) << np.uint64(8 * max(size, 0))) - np.uint64(1))


@compiled()
def _view(data: Any, at: int, size: int, words: Any, to: int) -> bool:
    """Write Arrow's view of bytes; tell whether they are few, and ASCII."""
    if size > INLINE:
        words[to] = np.uint64(size) | _four(data, at) << np.uint64(32)
        words[to + 1] = np.uint64(DATA) | np.uint64(at) << np.uint64(32)
        return False
    if at + INLINE <= len(data):
        prefix = _lowest(_four(data, at), size)
        rest = _lowest(_eight(data, at + 4), size - 4)
    else:
        prefix = rest = np.uint64(0)
        for place in range(size):
            byte = np.uint64(data[at + place])
            if place < 4:
                prefix |= byte << np.uint64(8 * place)
            else:
                rest |= byte << np.uint64(8 * (place - 4))
    words[to] = np.uint64(size) | prefix << np.uint64(32)
    words[to + 1] = rest
    return bool(((prefix | rest) & np.uint64(0x8080808080808080)) == 0)


@compiled()
def _is_text(data: Any, at: int, end: int) -> bool:
    """Tell whether bytes are UTF-8: no surrogates, nothing longer than it need be."""
    beyond_ascii = np.uint64(0)
    while end - at >= 8:
        beyond_ascii = _eight(data, at) & np.uint64(0x8080808080808080)
        if beyond_ascii != 0:
            break
        at += 8
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
def _decimal(
    data: Any, at: int, size: int, high: Any, low: Any, words: Any, to: int
) -> bool:
    """Write a big-endian two's complement, if it is nearer to 0 than a limit."""
    negative = size > 0 and data[at] > 0x7F
    fill = np.uint64(0xFF if negative else 0)
    for place in range(at, at + size - DECIMAL_BYTES):
        if data[place] != fill:
            return False
    # Of two literals numba would make a float.
    upper = lower = ~np.uint64(0) if negative else np.uint64(0)
    for place in range(max(at, at + size - DECIMAL_BYTES), at + size):
        upper = upper << np.uint64(8) | lower >> np.uint64(56)
        lower = lower << np.uint64(8) | np.uint64(data[place])
    if negative != (upper > np.uint64(0x7FFFFFFFFFFFFFFF)):
        return False  # its sign was among the bytes that have no place
    words[to], words[to + 1] = lower, upper
    if negative:
        lower = ~lower + np.uint64(1)
        upper = ~upper + np.uint64(1 if lower == 0 else 0)
    return bool(upper < high or (upper == high and lower < low))
