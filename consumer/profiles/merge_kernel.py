"""Merge encoded profiles: stored records and the records of what a batch adds.

Enters: the bytes of records, Avro with framing, and a program with one operation a
field. Leaves: the bytes of the merged records. Each operation does to bytes what a
monoid's `combine` does to columns; the property tests hold them to each other. Parts
that do not change are copied as they are, so nothing becomes a column or an object.

All of it is compiled by numba when first called; the compiled code is cached. What is
not the canonical form that our encoder writes raises `ValueError`: the caller has a
slower way that takes everything. A buffer ends with `PADDING` zeros, so that a number
that was cut short is not read beyond it.

The loops over slots and rows repeat each other on purpose, and the file is long on
purpose (ADR 0014). A loop that took what differs as a function would call it for each
row: only what an entry calls by name becomes a part of it. And an entry's cached code
is compiled anew when its own file changes, not when one does that it imports from:
helpers in another file would leave old code in use.
"""

# ruff: noqa: ANN401, C901, PLR0912, PLR0913, PLR0915, PLR0917, PLR2004, FBT001
# numba infers types, compiles functions of arrays and numbers, and knows no objects.
from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from consumer.compiled import compiled

PADDING: Final = 16
FRAME: Final = 5

# Operations on a field; a program has a row a field: operation, storage, argument.
REPLACE: Final = 0  # the new value
ADD: Final = 1  # the sum of two longs
GREATEST: Final = 2  # the greater of two longs
TOTAL: Final = 3  # count, sum and mean
EXTREME: Final = 4  # min, max; argument: 1 for min
EDGE: Final = 5  # first, last; argument: 1 for first
KEYS: Final = 6  # distinct
WEIGHTS: Final = 7  # top
RECENT: Final = 8  # argument: the most entries

# Storages of values.
LONG: Final = 0
DOUBLE: Final = 1
STRING: Final = 2

VALUE: Final = 2  # how the branch of a nullable value that is there is encoded

# Of the C library: loops over single bytes took four times as long.
memcpy: Any = types.ExternalFunction(
    "memcpy", types.uintp(types.uintp, types.uintp, types.uintp)
)
memcmp: Any = types.ExternalFunction(
    "memcmp", types.int32(types.uintp, types.uintp, types.uintp)
)


@compiled()
def _unsigned(data: Any, at: int) -> tuple[Any, int]:
    """Read a variable-length number; gives it and the place after it."""
    byte = data[at]
    at += 1
    value = np.uint64(byte & 0x7F)
    shift = np.uint64(7)
    while byte > 0x7F:
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << shift
        shift += np.uint64(7)
    return value, at


@compiled()
def _long(data: Any, at: int) -> tuple[Any, int]:
    value, at = _unsigned(data, at)
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at


@compiled()
def _put_long(out: Any, at: int, number: int) -> int:
    value = np.uint64((number << 1) ^ (number >> 63))
    while value > np.uint64(0x7F):
        out[at] = np.uint8(value & np.uint64(0x7F)) | 0x80
        value >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@compiled()
def _length(data: Any, at: int, end: int) -> tuple[int, int]:
    """Read a length or a count that may not exceed what is left of the record."""
    length, at = _long(data, at)
    if length < 0 or length > end - at:
        raise ValueError("a length beyond the record")
    return length, at


@compiled()
def _skip_long(data: Any, at: int) -> int:
    while data[at] > 0x7F:
        at += 1
    return at + 1


@compiled()
def _skip(data: Any, at: int, end: int, storage: int) -> int:
    if storage == LONG:
        at = _skip_long(data, at)
    elif storage == DOUBLE:
        at += 8
    else:
        length, at = _length(data, at, end)
        at += length
    if at > end:
        raise ValueError("a value beyond the record")
    return at


@compiled()
def _copy(data: Any, begin: int, end: int, out: Any, at: int) -> int:
    memcpy(out.ctypes.data + at, data.ctypes.data + begin, end - begin)
    return at + end - begin


@compiled()
def _sortable(data: Any, at: int) -> Any:
    """Read a double as a number that sorts like it."""
    bits = np.uint64(0)
    for place in range(8):
        bits |= np.uint64(data[at + place]) << np.uint64(8 * place)
    number = np.int64(bits)
    return number if number >= 0 else number ^ np.int64(0x7FFF_FFFF_FFFF_FFFF)


@compiled()
def _compare(
    old: Any, at: int, end: int, new: Any, place: int, stop: int, storage: int
) -> int:
    """Give -1, 0 or 1 as the old value is less than, equal to, or above the new."""
    if storage == STRING:
        length, at = _length(old, at, end)
        other, place = _length(new, place, stop)
        shorter = min(length, other)
        order = memcmp(old.ctypes.data + at, new.ctypes.data + place, shorter)
        if order != 0:
            return -1 if order < 0 else 1
        first, second = length, other
    elif storage == LONG:
        first, at = _long(old, at)
        second, place = _long(new, place)
    else:
        first, second = _sortable(old, at), _sortable(new, place)
    return (first > second) - (first < second)


@compiled()
def _close(data: Any, at: int, count: int) -> int:
    """Go past the end of an array, which must be written as one block."""
    if count == 0:
        return at
    if data[at] != 0:
        raise ValueError("an array of several blocks")
    return at + 1


@compiled()
def _total(
    old: Any, at: int, new: Any, place: int, out: Any, put: int
) -> tuple[int, int, int]:
    total, at = _long(old, at)
    weight, at = _long(old, at)
    added, place = _long(new, place)
    more, place = _long(new, place)
    whole = total + added
    if ((total ^ whole) & (added ^ whole)) < 0:
        raise ValueError("an overflow")
    put = _put_long(out, put, whole)
    return at, place, _put_long(out, put, weight + more)


@compiled()
def _extreme(
    old: Any,
    at: int,
    end: int,
    new: Any,
    place: int,
    stop: int,
    out: Any,
    put: int,
    storage: int,
    least: int,
) -> tuple[int, int, int]:
    begin, first = at, place
    held, given = old[at] == VALUE, new[place] == VALUE
    at = _skip(old, at + 1, end, storage) if held else at + 1
    place = _skip(new, place + 1, stop, storage) if given else place + 1
    wins = given
    if held and given:
        order = _compare(old, begin + 1, end, new, first + 1, stop, storage)
        wins = order > 0 if least else order < 0
    if wins:
        return at, place, _copy(new, first, place, out, put)
    return at, place, _copy(old, begin, at, out, put)


@compiled()
def _skip_place(data: Any, at: int, end: int) -> int:
    """Go past time, event and item, which say where in time a value stands."""
    at = _skip_long(data, at)
    at = _skip(data, at, end, STRING)
    return _skip(data, at, end, LONG)


@compiled()
def _compare_places(
    old: Any, at: int, end: int, new: Any, place: int, stop: int
) -> int:
    """Compare by time, then event, then item."""
    order = _compare(old, at, end, new, place, stop, LONG)
    if order == 0:
        at, place = _skip_long(old, at), _skip_long(new, place)
        order = _compare(old, at, end, new, place, stop, STRING)
        if order == 0:
            at, place = _skip(old, at, end, STRING), _skip(new, place, stop, STRING)
            order = _compare(old, at, end, new, place, stop, LONG)
    return order


@compiled()
def _edge(
    old: Any,
    at: int,
    end: int,
    new: Any,
    place: int,
    stop: int,
    out: Any,
    put: int,
    storage: int,
    earliest: int,
) -> tuple[int, int, int]:
    begin, first = at, place
    held, given = old[at] == VALUE, new[place] == VALUE
    at = _skip(old, at + 1, end, storage) if held else at + 1
    place = _skip(new, place + 1, stop, storage) if given else place + 1
    wins = given
    if held and given:
        order = _compare_places(old, at, end, new, place, stop)
        wins = order > 0 if earliest else order < 0
    at, place = _skip_place(old, at, end), _skip_place(new, place, stop)
    if wins:
        return at, place, _copy(new, first, place, out, put)
    return at, place, _copy(old, begin, at, out, put)


@compiled()
def _keyed(
    old: Any,
    at: int,
    end: int,
    new: Any,
    place: int,
    stop: int,
    out: Any,
    put: int,
    storage: int,
    weighted: bool,
) -> tuple[int, int, int, int, int]:
    """Unite two sorted runs of keys; gives, last, how many there were and are."""
    held, at = _length(old, at, end)
    given, place = _length(new, place, stop)
    begin = put
    room = _put_long(out, put, held + given)
    put = room
    count, left, right = 0, held, given
    while left or right:
        order = 0
        if left and right:
            order = _compare(old, at, end, new, place, stop, storage)
        elif left:
            order = -1
        else:
            order = 1
        count += 1
        if order < 0:
            after = _skip(old, at, end, storage)
            after = _skip(old, after, end, LONG) if weighted else after
            put = _copy(old, at, after, out, put)
            at = after
            left -= 1
        elif order > 0:
            after = _skip(new, place, stop, storage)
            after = _skip(new, after, stop, LONG) if weighted else after
            put = _copy(new, place, after, out, put)
            place = after
            right -= 1
        else:
            after = _skip(old, at, end, storage)
            kept = put
            put = _copy(old, at, after, out, put)
            at, place = after, _skip(new, place, stop, storage)
            left -= 1
            right -= 1
            if weighted:
                weight, at = _long(old, at)
                more, place = _long(new, place)
                if abs(float(weight)) + abs(float(more)) >= 2.0**63:
                    raise ValueError("an overflow")
                if weight + more == 0:
                    put = kept
                    count -= 1
                else:
                    put = _put_long(out, put, weight + more)
    at, place = _close(old, at, held), _close(new, place, given)
    start = _put_long(out, begin, count)
    if start < room:  # the count takes fewer bytes than were left for it
        for index in range(put - room):
            out[start + index] = out[room + index]
        put -= room - start
    if count:
        out[put] = 0
        put += 1
    return at, place, put, held, count


@compiled()
def _recent(
    old: Any,
    at: int,
    end: int,
    new: Any,
    place: int,
    stop: int,
    out: Any,
    put: int,
    storage: int,
    most: int,
) -> tuple[int, int, int]:
    """Merge two runs of entries, newest first, and keep `most` of them."""
    held, at = _length(old, at, end)
    given, place = _length(new, place, stop)
    kept = min(held + given, most)
    put = _put_long(out, put, kept)
    left, right = held, given
    for _ in range(kept):
        from_new = right > 0
        if left and right:
            ours, theirs = (
                _skip(old, at, end, storage),
                _skip(new, place, stop, storage),
            )
            from_new = _compare_places(old, ours, end, new, theirs, stop) <= 0
        if from_new:
            after = _skip_place(new, _skip(new, place, stop, storage), stop)
            put = _copy(new, place, after, out, put)
            place = after
            right -= 1
        else:
            after = _skip_place(old, _skip(old, at, end, storage), end)
            put = _copy(old, at, after, out, put)
            at = after
            left -= 1
    for _ in range(left):
        at = _skip_place(old, _skip(old, at, end, storage), end)
    for _ in range(right):
        place = _skip_place(new, _skip(new, place, stop, storage), stop)
    at, place = _close(old, at, held), _close(new, place, given)
    if kept:
        out[put] = 0
        put += 1
    return at, place, put


@compiled(entry=True)
def merge_records(
    program: Any,
    old: Any,
    old_bounds: Any,
    new: Any,
    new_bounds: Any,
    frame: Any,
    out: Any,
    out_bounds: Any,
    counts: Any,
) -> None:
    """Merge record by record.

    `old_bounds` are where the old records begin and, last, end; `new_bounds` has such
    a row for each field of the new ones. Each merged record begins with `frame`. `out`
    must have room for all of old and new. `counts` gets a row a record: how many
    entries each KEYS and WEIGHTS field had, and has.
    """
    put = 0
    for row in range(len(old_bounds) - 1):
        at, end = old_bounds[row], old_bounds[row + 1]
        put = _copy(frame, 0, FRAME, out, put)
        at += FRAME
        keyed = 0
        for index in range(len(program)):
            place, stop = new_bounds[index, row], new_bounds[index, row + 1]
            operation = program[index, 0]
            storage, argument = program[index, 1], program[index, 2]
            if operation == TOTAL:
                at, place, put = _total(old, at, new, place, out, put)
            elif operation == EDGE:
                at, place, put = _edge(
                    old, at, end, new, place, stop, out, put, storage, argument
                )
            elif operation in (KEYS, WEIGHTS):
                at, place, put, held, kept = _keyed(
                    old,
                    at,
                    end,
                    new,
                    place,
                    stop,
                    out,
                    put,
                    storage,
                    operation == WEIGHTS,
                )
                counts[row, keyed], counts[row, keyed + 1] = held, kept
                keyed += 2
            elif operation == RECENT:
                at, place, put = _recent(
                    old, at, end, new, place, stop, out, put, storage, argument
                )
            elif operation == EXTREME:
                at, place, put = _extreme(
                    old, at, end, new, place, stop, out, put, storage, argument
                )
            elif operation == REPLACE:
                at = _skip(old, at, end, storage)
                begin = place
                place = _skip(new, place, stop, storage)
                put = _copy(new, begin, place, out, put)
            else:
                number, at = _long(old, at)
                other, place = _long(new, place)
                if operation == ADD:
                    number += other
                else:
                    number = max(number, other)
                put = _put_long(out, put, number)
            if at > end or place != stop:
                raise ValueError("a field beyond the record")
        if at != end:
            raise ValueError("a record that is not what its schema says")
        out_bounds[row + 1] = put


@compiled(entry=True)
def longs_of(program: Any, data: Any, bounds: Any, field: int, out: Any) -> None:
    """Read a field of each record, by its place in the program; it is a long."""
    for row in range(len(bounds) - 1):
        at, end = bounds[row] + FRAME, bounds[row + 1]
        for index in range(field):
            at = _skip(data, at, end, program[index, 1])
        out[row], at = _long(data, at)
        if at > end:
            raise ValueError("a value beyond the record")


@compiled()
def _put_value(
    numbers: Any, texts: Any, row: int, storage: int, out: Any, put: int
) -> int:
    """Write the value of a row: a number, or the text between two offsets."""
    if storage == STRING:
        begin, end = numbers[row], numbers[row + 1]
        put = _put_long(out, put, end - begin)
        return _copy(texts, begin, end, out, put)
    if storage == LONG:
        return _put_long(out, put, numbers[row])
    bits = np.uint64(numbers[row])
    for place in range(8):
        out[put + place] = np.uint8((bits >> np.uint64(8 * place)) & np.uint64(0xFF))
    return put + 8


@compiled()
def _order(numbers: Any, texts: Any, row: int, other: int, storage: int) -> Any:
    """Compare the values of two rows."""
    first, second = numbers[row], numbers[other]
    if storage == STRING:
        size, wide = numbers[row + 1] - first, numbers[other + 1] - second
        where = texts.ctypes.data
        order = memcmp(where + first, where + second, min(size, wide))
        if order != 0:
            return -1 if order < 0 else 1
        first, second = size, wide
    elif storage == DOUBLE:
        first = first if first >= 0 else first ^ np.int64(0x7FFF_FFFF_FFFF_FFFF)
        second = second if second >= 0 else second ^ np.int64(0x7FFF_FFFF_FFFF_FFFF)
    return (first > second) - (first < second)


# What follows writes one field of each slot's new part. A slot has the rows
# `order[starts[slot]:starts[slot + 1]]` of its source, in the order of time; those that
# are `valid` take part. A column is `numbers`: longs, the bits of doubles, or where
# each of `texts` begins and the last one ends. `bounds` gets where each field begins,
# and where the last one ends, in `out`, which must have room from `put` on. All return
# the place after what they wrote.


@compiled(entry=True)
def put_values(
    numbers: Any, texts: Any, storage: int, out: Any, bounds: Any, put: int
) -> int:
    """Write a value a slot."""
    for slot in range(len(bounds) - 1):
        bounds[slot] = put
        put = _put_value(numbers, texts, slot, storage, out, put)
    bounds[len(bounds) - 1] = put
    return put


@compiled(entry=True)
def put_totals(
    order: Any,
    starts: Any,
    valid: Any,
    numbers: Any,
    weights: Any,
    out: Any,
    bounds: Any,
    put: int,
) -> int:
    """Write count, sum and mean: the total of numbers times weights, and of weights."""
    for slot in range(len(starts) - 1):
        total = weight = 0
        for place in range(starts[slot], starts[slot + 1]):
            row = order[place]
            if valid[row]:
                total += numbers[row] * weights[row]
                weight += weights[row]
        bounds[slot] = put
        put = _put_long(out, put, total)
        put = _put_long(out, put, weight)
    bounds[len(starts) - 1] = put
    return put


@compiled(entry=True)
def put_extremes(
    order: Any,
    starts: Any,
    valid: Any,
    numbers: Any,
    texts: Any,
    storage: int,
    least: int,
    out: Any,
    bounds: Any,
    put: int,
) -> int:
    """Write min or max."""
    for slot in range(len(starts) - 1):
        best = -1
        for place in range(starts[slot], starts[slot + 1]):
            row = order[place]
            if valid[row]:
                if best < 0:
                    best = row
                    continue
                found = _order(numbers, texts, row, best, storage)
                if (found < 0) if least else (found > 0):
                    best = row
        bounds[slot] = put
        out[put] = 0 if best < 0 else VALUE
        put += 1
        if best >= 0:
            put = _put_value(numbers, texts, best, storage, out, put)
    bounds[len(starts) - 1] = put
    return put


@compiled()
def _put_place(
    row: int,
    owners: Any,
    times: Any,
    ids: Any,
    id_texts: Any,
    items: Any,
    out: Any,
    put: int,
) -> int:
    """Write where in time a row stands: its event's time and id, its own index."""
    event = owners[row]
    put = _put_long(out, put, times[event])
    put = _put_value(ids, id_texts, event, STRING, out, put)
    return _put_long(out, put, items[row])


@compiled(entry=True)
def put_edges(
    order: Any,
    starts: Any,
    valid: Any,
    numbers: Any,
    texts: Any,
    storage: int,
    earliest: int,
    owners: Any,
    times: Any,
    ids: Any,
    id_texts: Any,
    items: Any,
    out: Any,
    bounds: Any,
    put: int,
) -> int:
    """Write first or last."""
    for slot in range(len(starts) - 1):
        best = -1
        for step in range(starts[slot + 1] - starts[slot]):
            back = starts[slot + 1] - 1 - step
            row = order[starts[slot] + step if earliest else back]
            if valid[row]:
                best = row
                break
        bounds[slot] = put
        if best < 0:
            for _ in range(4):  # no value, at no time, of no event, no item
                out[put] = 0
                put += 1
        else:
            out[put] = VALUE
            put = _put_value(numbers, texts, best, storage, out, put + 1)
            put = _put_place(best, owners, times, ids, id_texts, items, out, put)
    bounds[len(starts) - 1] = put
    return put


@compiled(entry=True)
def put_recents(
    order: Any,
    starts: Any,
    valid: Any,
    numbers: Any,
    texts: Any,
    storage: int,
    most: int,
    owners: Any,
    times: Any,
    ids: Any,
    id_texts: Any,
    items: Any,
    out: Any,
    bounds: Any,
    put: int,
) -> int:
    """Write the newest values, newest first."""
    for slot in range(len(starts) - 1):
        count = 0
        place = starts[slot + 1] - 1
        while count < most and place >= starts[slot]:
            count += valid[order[place]]
            place -= 1
        bounds[slot] = put
        put = _put_long(out, put, count)
        left, place = count, starts[slot + 1] - 1
        while left:
            row = order[place]
            place -= 1
            if valid[row]:
                put = _put_value(numbers, texts, row, storage, out, put)
                put = _put_place(row, owners, times, ids, id_texts, items, out, put)
                left -= 1
        if count:
            out[put] = 0
            put += 1
    bounds[len(starts) - 1] = put
    return put


@compiled(entry=True)
def put_keys(
    order: Any,
    starts: Any,
    valid: Any,
    numbers: Any,
    texts: Any,
    storage: int,
    weights: Any,
    weighted: int,
    rows: Any,
    sums: Any,
    out: Any,
    bounds: Any,
    put: int,
) -> int:
    """Write top or distinct: the keys, sorted, with their weights added up.

    `rows` and `sums` are room for the keys of a slot; more than fit raise.
    """
    for slot in range(len(starts) - 1):
        count = 0
        for place in range(starts[slot], starts[slot + 1]):
            row = order[place]
            if not valid[row]:
                continue
            low, high, same = 0, count, False
            while low < high and not same:
                middle = (low + high) // 2
                found = _order(numbers, texts, row, rows[middle], storage)
                if found == 0:
                    low, same = middle, True
                elif found < 0:
                    high = middle
                else:
                    low = middle + 1
            if same:
                sums[low] += weights[row]
                continue
            if count == len(rows):
                raise ValueError("many keys")
            for back in range(count - low):
                rows[count - back] = rows[count - back - 1]
                sums[count - back] = sums[count - back - 1]
            rows[low], sums[low] = row, weights[row]
            count += 1
        kept = 0
        for index in range(count):
            kept += not (weighted and sums[index] == 0)
        bounds[slot] = put
        put = _put_long(out, put, kept)
        for index in range(count):
            if weighted and sums[index] == 0:
                continue
            put = _put_value(numbers, texts, rows[index], storage, out, put)
            if weighted:
                put = _put_long(out, put, sums[index])
        if kept:
            out[put] = 0
            put += 1
    bounds[len(starts) - 1] = put
    return put
