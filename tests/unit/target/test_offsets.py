"""Offsets of a batch as ranges, and the rule of what may be committed."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from consumer.target.offsets import (
    FEW_RANGES,
    MOST_RANGES,
    WIDEST_GAP,
    Span,
    next_offsets,
    span,
)

OFFSETS = st.sets(st.integers(0, 100_000), min_size=1, max_size=60)


@given(OFFSETS, OFFSETS)
def test_ranges_hold_the_batch_and_nothing_of_other_batches(
    mine: set[int], others: set[int]
) -> None:
    """Every offset of the batch is inside, every other pending one outside."""
    others -= mine
    found = span(np.array([*mine]), np.array([*others], np.int64))
    assert found.exact
    assert found.rows == len(mine)
    assert found.holds(np.array(sorted(mine))).all()
    assert not found.holds(np.array(sorted(others), np.int64)).any()
    for (_, end), (start, _) in zip(found.ranges, found.ranges[1:], strict=False):
        assert end < start
    assert all(last - first <= WIDEST_GAP * found.rows for first, last in found.ranges)


def test_few_rows_have_ranges_of_their_own() -> None:
    """Rows between them, superseded or long accepted, are not taken for theirs."""
    found = span(np.array([5, 1, 2, 9]), np.array([20]))
    assert found == Span(4, ((1, 2), (5, 5), (9, 9)))


def test_neighbours_among_many_rows_share_a_range() -> None:
    """The ledger's entry stays small: only the widest gaps are left out."""
    mine = np.cumsum(np.where(np.arange(10_000) % 50 == 0, 9, 2))
    found = span(mine, np.array([mine[-1] + 1]))
    assert found.exact
    assert len(found.ranges) == FEW_RANGES
    gaps = [b[0] - a[1] for a, b in zip(found.ranges, found.ranges[1:], strict=False)]
    assert gaps.count(9) == 199, "the wide ones come first"


def test_too_many_ranges_are_joined_and_marked() -> None:
    """A ledger entry stays small; its ranges then only say where to look."""
    mine = np.arange(0, 20_000, 2)
    found = span(mine, mine + 1)
    assert len(found.ranges) == MOST_RANGES
    assert not found.exact
    assert found.holds(mine).all()


def test_the_commit_stops_at_the_first_live_row_of_each_partition() -> None:
    """Without live rows it is the offset after the last record."""
    live = pl.DataFrame({"partition": [0, 0, 2], "offset": [7, 4, 1]})
    assert next_offsets({0: 10, 1: 3, 2: 9}, live) == {0: 4, 1: 3, 2: 1}
