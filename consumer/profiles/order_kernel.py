"""Whose each event is, and in what order: the loops of `fold` and `operands`.

Enters: keys or times by event. Leaves: arrays of rows. Most visitors of a batch have an
event or two, a few may have thousands; events come nearly in the order of their time.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917
# numba infers types, compiles functions of arrays and numbers, and knows no objects.
from __future__ import annotations

from typing import Any, Final

import numpy as np

from consumer.compiled import compiled

FEW: Final = 16  # rows that are sorted by moving each to its place


@compiled(entry=True)
def distinct(
    index: Any, partitions: Any, high: Any, low: Any, firsts: Any, of_row: Any
) -> int:
    """Give each distinct key a number, in the order of first rows; gives how many.

    `index` has a power of two of places, more than rows, all -1. `firsts` gets the
    first row of each key, `of_row` the number of each row's key.
    """
    mask = np.uint64(len(index) - 1)
    count = 0
    for row in range(len(low)):
        at = (low[row] + np.uint64(partitions[row])) & mask
        number = index[at]
        while number >= 0:
            first = firsts[number]
            if (
                low[first] == low[row]
                and high[first] == high[row]
                and partitions[first] == partitions[row]
            ):
                break
            at = (at + np.uint64(1)) & mask
            number = index[at]
        if number < 0:
            number = count
            index[at] = number
            firsts[number] = row
            count += 1
        of_row[row] = number
    return count


@compiled(entry=True)
def by_slot_and_time(
    slots: Any, times: Any, starts: Any, nexts: Any, order: Any, spare: Any
) -> bool:
    """Order rows by slot and time; gives whether two of one slot have the same time.

    `starts` are where each slot's rows begin in `order`, and where the last ones end;
    `nexts` a copy of it to be used up, `spare` room for as many rows as there are.
    Rows of the same time stay in their order.
    """
    for row in range(len(slots)):
        slot = slots[row]
        order[nexts[slot]] = row
        nexts[slot] += 1
    ties = False
    for slot in range(len(starts) - 1):
        begin, end = starts[slot], starts[slot + 1]
        for at in range(begin, end, FEW):
            _insert(times, order, at, min(at + FEW, end))
        size = FEW
        while size < end - begin:
            for at in range(begin, end - size, 2 * size):
                _merge(times, order, spare, at, at + size, min(at + 2 * size, end))
            size *= 2
        for at in range(begin + 1, end):
            ties |= times[order[at]] == times[order[at - 1]]
    return ties


@compiled()
def _insert(times: Any, order: Any, begin: int, end: int) -> None:
    """Sort some rows by time, each moved back to its place."""
    for at in range(begin + 1, end):
        row = order[at]
        time = times[row]
        back = at
        while back > begin and times[order[back - 1]] > time:
            order[back] = order[back - 1]
            back -= 1
        order[back] = row


@compiled()
def _merge(
    times: Any, order: Any, spare: Any, begin: int, middle: int, end: int
) -> None:
    """Merge two sorted runs of rows that lie behind each other."""
    if times[order[middle - 1]] <= times[order[middle]]:
        return
    for at in range(begin, middle):
        spare[at] = order[at]
    left, right = begin, middle
    for at in range(begin, end):
        if left == middle:
            return
        if right < end and times[order[right]] < times[spare[left]]:
            order[at] = order[right]
            right += 1
        else:
            order[at] = spare[left]
            left += 1


@compiled(entry=True)
def items_in_order(
    order: Any, starts: Any, begins: Any, rows: Any, item_starts: Any
) -> None:
    """Lay out each event's items in the order of the events.

    `order` and `starts` are those of the events, `begins` has where each event's items
    begin, and where the last ones end. `rows` gets the items in order, `item_starts`
    where each slot's begin in it, and where the last ones end.
    """
    put = 0
    for slot in range(len(starts) - 1):
        item_starts[slot] = put
        for place in range(starts[slot], starts[slot + 1]):
            event = order[place]
            for item in range(begins[event], begins[event + 1]):
                rows[put] = item
                put += 1
    item_starts[len(starts) - 1] = put
