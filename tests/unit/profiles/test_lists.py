"""Lists in what Target gets: the heaviest first, joined, at any size of the numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from consumer.compiled import sealed
from consumer.profiles.heaviest_kernel import heaviest
from consumer.profiles.rows import _joined

ENTRIES = st.lists(
    st.lists(st.integers(-(2**62), 2**62) | st.integers(-2, 9), max_size=9), max_size=12
)


@given(ENTRIES, st.integers(1, 7))
def test_the_heaviest_come_first_and_ties_in_their_order(
    rows: list[list[int]], most: int
) -> None:
    """Of positive weights, so many of each row."""
    picked = np.empty(sum(map(len, rows)), np.int64)
    lengths = np.empty(len(rows), np.int64)
    weights = np.array([weight for row in rows for weight in row], np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    entries = sealed(offsets.astype(np.int64)), sealed(weights)
    count = heaviest(*entries, most, picked, lengths)
    expected = []
    for first, last in itertools.pairwise(offsets.tolist()):
        positive = [place for place in range(first, last) if weights[place] > 0]
        expected.append(sorted(positive, key=lambda at: (-weights[at], at))[:most])
    assert picked[:count].tolist() == [place for row in expected for place in row]
    assert lengths.tolist() == [len(row) for row in expected]


@given(st.lists(st.lists(st.none() | st.sampled_from(["", "a", "b c", "é"]))))
def test_texts_are_joined_row_by_row(rows: list[list[str | None]]) -> None:
    """No entries give nothing; entries without a text are left out."""
    texts = pa.array([text for row in rows for text in row], pa.string())
    joined = _joined(texts, np.array([len(row) for row in rows], np.int64), "|")
    assert joined.to_pylist() == [
        "|".join(text for text in row if text is not None) if row else None
        for row in rows
    ]
