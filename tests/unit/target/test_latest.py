"""Which records are the latest of their visitors, and which of them are asked for."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target import latest
from consumer.target.latest import TOMBSTONE, Latest, Selection, chunks, ranges

VISITORS = st.sampled_from(["a", "b", "c", "ä", "visitor 5"])
RECORDS = st.lists(
    st.tuples(VISITORS, st.integers(0, 100), st.integers(TOMBSTONE, 50)), max_size=40
)
SELECTIONS = st.builds(
    Selection,
    visitors=st.none() | st.frozensets(VISITORS),
    before=st.none() | st.integers(0, 100),
)


def found(
    selection: Selection, records: list[tuple[str, int, int]], cut: int = 0
) -> Latest:
    """Take records in two goes, at the offsets 0, 10, 20 and so on."""
    made = Latest(selection)
    for first, last in ((0, cut), (cut, len(records))):
        part = records[first:last]
        made.add(
            [visitor.encode() for visitor, _, _ in part],
            np.arange(first, last, dtype=np.int64) * 10,
            np.array([at for _, at, _ in part], np.int64),
            np.array([size for _, _, size in part], np.int32),
        )
    return made


@given(RECORDS, SELECTIONS, st.integers(0, 40), st.integers(0, 400), st.integers(1, 9))
def test_the_latest_records_that_are_asked_for(
    records: list[tuple[str, int, int]],
    selection: Selection,
    cut: int,
    start: int,
    compact_at: int,
) -> None:
    """One a visitor, none that was removed, whatever was compacted in between."""
    last = {visitor: row for row, (visitor, _, _) in enumerate(records)}
    expected = []
    for visitor, row in sorted(last.items(), key=lambda pair: pair[1]):
        _, at, size = records[row]
        asked = selection.visitors is None or visitor in selection.visitors
        old = selection.before is None or at < selection.before
        if asked and old and size != TOMBSTONE and row * 10 >= start:
            expected.append((row * 10, size))
    with patch.object(latest, "_COMPACT_AT", compact_at):
        made = found(selection, records, min(cut, len(records)))
    assert made.chosen(start).rows() == expected


def test_the_parts_of_a_round_hold_each_visitor_once_and_evenly() -> None:
    """A visitor is always of the same part, in every process."""
    keys = [f"visitor-{number}".encode() for number in range(4_800)]
    parts = [Selection(part=(number, 48)).wants(keys) for number in range(48)]
    assert (np.sum(parts, axis=0) == 1).all()
    sizes = [int(part.sum()) for part in parts]
    assert 60 < min(sizes) <= max(sizes) < 140
    assert Selection(part=(46, 48)).wants([b"visitor-7"]).tolist() == [True]


@given(
    st.lists(st.integers(0, 30), max_size=40), st.integers(1, 10), st.integers(1, 60)
)
def test_chunks_are_bounded_and_miss_nothing(
    sizes: list[int], most_rows: int, most_bytes: int
) -> None:
    """In order; only a single row may be larger than the bound."""
    records = [(f"v{row}", 0, size) for row, size in enumerate(sizes)]
    cut = list(chunks(found(Selection(), records).chosen(), most_rows, most_bytes))
    assert [o for part in cut for o in part.tolist()] == [
        row * 10 for row in range(len(sizes))
    ]
    for part in cut:
        held = sum(sizes[offset // 10] for offset in part.tolist())
        assert 0 < len(part) <= most_rows
        assert held <= most_bytes or len(part) == 1


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [([4], [(4, 4)]), ([1, 2, 3, 7, 9, 10], [(1, 3), (7, 7), (9, 10)])],
)
def test_offsets_are_written_as_ranges(
    offsets: list[int], expected: list[tuple[int, int]]
) -> None:
    """Neighbours share one."""
    assert ranges(np.array(offsets, np.int64)) == expected
