"""The order in which a batch's visitors and events are laid out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.fold import sorted_by_key

ROW = st.tuples(st.integers(0, 70_000), st.integers(0, 2), st.integers(0, 2))


@given(st.lists(ROW, max_size=30))
def test_visitors_are_sorted_by_partition_and_both_halves(
    rows: list[tuple[int, int, int]],
) -> None:
    """Also where visitors share a half of their hash, and however many partitions."""
    partitions = np.array([row[0] for row in rows], np.int32)
    high = np.array([row[1] for row in rows], np.uint64)
    low = np.array([row[2] for row in rows], np.uint64)
    order = sorted_by_key(partitions, high, low).tolist()
    assert sorted(order) == [*range(len(rows))]
    assert [rows[place] for place in order] == sorted(rows)
