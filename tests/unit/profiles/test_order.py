"""Visitors are told apart and events put in order as numpy would, whatever comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.compiled import sealed
from consumer.profiles import order_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Few different values, so that keys repeat and times tie; long enough for merges.
SMALL = st.integers(0, 5)
ROWS = st.lists(st.tuples(SMALL, SMALL, st.integers(0, 60)), max_size=120)
LARGEST = 2**64 - 1


@given(rows=st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=60))
def test_keys_that_differ_anywhere_are_different(
    rows: list[tuple[int, int, int]],
) -> None:
    """In the partition or either half, though they fall on one place of the index."""
    partitions = np.array([row[0] for row in rows], np.int32)
    high = np.array([LARGEST - row[1] for row in rows], np.uint64)
    low = np.array([LARGEST - row[2] for row in rows], np.uint64)
    firsts, numbers = np.empty((2, len(rows)), np.int64)
    index = np.full(2 << len(rows).bit_length(), -1, np.int32)
    keys = sealed(partitions), sealed(high), sealed(low)
    count = kernel.distinct(index, *keys, firsts, numbers)
    seen = list(dict.fromkeys(rows))
    assert count == len(seen)
    assert numbers.tolist() == [seen.index(row) for row in rows]
    assert firsts[:count].tolist() == [rows.index(row) for row in seen]


@given(rows=ROWS)
def test_rows_are_in_the_order_of_a_stable_sort(
    rows: list[tuple[int, int, int]],
) -> None:
    """And it is said whether some of one slot have the same time."""
    slots = np.array([row[0] for row in rows], np.int64)
    times = np.array([row[2] for row in rows], np.int64)
    order, starts, ties = _ordered(slots, times)
    assert order.tolist() == np.lexsort((times, slots)).tolist()
    assert starts.tolist() == [int((slots < slot).sum()) for slot in range(7)]
    pairs = list(zip(slots.tolist(), times.tolist(), strict=True))
    assert ties == (len(set(pairs)) < len(pairs))


@given(rows=ROWS, lengths=st.lists(st.integers(0, 3), max_size=120))
def test_items_follow_their_events(
    rows: list[tuple[int, int, int]], lengths: list[int]
) -> None:
    """Each event's lie together, in their own order."""
    rows = rows[: len(lengths)]
    slots = np.array([row[0] for row in rows], np.int64)
    times = np.array([row[2] for row in rows], np.int64)
    order, starts, _ = _ordered(slots, times)
    begins = np.cumsum([0, *lengths[: len(rows)]])
    found = np.empty(int(begins[-1]), np.int64)
    item_starts = np.empty(7, np.int64)
    kernel.items_in_order(
        sealed(order), sealed(starts), sealed(begins), found, item_starts
    )
    spans = [range(begins[event], begins[event + 1]) for event in order.tolist()]
    assert found.tolist() == [item for span in spans for item in span]
    ends = np.cumsum([0, *map(len, spans)])
    assert item_starts.tolist() == ends[starts].tolist()


def _ordered(
    slots: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    starts = np.cumsum([0, *np.bincount(slots, minlength=6)])
    order, spare = np.empty((2, len(slots)), np.int64)
    ties = kernel.by_slot_and_time(
        sealed(slots), sealed(times), sealed(starts), starts.copy(), order, spare
    )
    return order, starts, bool(ties)
