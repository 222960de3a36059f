"""Lists in what Target gets: the heaviest first, joined, at any size of the numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.rows import _joined
from consumer.profiles.values import _by_weight

ENTRIES = st.lists(
    st.lists(st.integers(1, 2**62) | st.integers(1, 9), max_size=6), max_size=12
)


@given(ENTRIES)
def test_entries_come_heaviest_first_and_ties_in_their_order(
    rows: list[list[int]],
) -> None:
    """Whether slot, weight and place fit into one number or not."""
    slots = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    weights = np.array([weight for row in rows for weight in row], np.int64)
    order = _by_weight(slots.astype(np.int64), weights).tolist()
    expected = sorted(range(len(weights)), key=lambda at: (slots[at], -weights[at], at))
    assert order == expected


@given(st.lists(st.lists(st.none() | st.sampled_from(["", "a", "b c", "é"]))))
def test_texts_are_joined_row_by_row(rows: list[list[str | None]]) -> None:
    """No entries give nothing; entries without a text are left out."""
    texts = pa.array([text for row in rows for text in row], pa.string())
    joined = _joined(texts, np.array([len(row) for row in rows], np.int64), "|")
    assert joined.to_pylist() == [
        "|".join(text for text in row if text is not None) if row else None
        for row in rows
    ]


@pytest.mark.parametrize("slots", [3, 2**40])
def test_both_ways_of_sorting_agree(slots: int) -> None:
    """A slot number too high for the short way gives the same order."""
    places = np.array([0, 0, slots - 1, slots - 1], np.int64)
    weights = np.array([5, 2**30, 7, 7], np.int64)
    assert _by_weight(places, weights).tolist() == [1, 0, 2, 3]
