"""What a replay takes from topics is what it may take."""

from __future__ import annotations

import numpy as np
import pytest

from consumer.profiles.seen import Ids
from consumer.stages.explain_events import _among, _before


def ids(*numbers: int) -> Ids:
    """Make ids."""
    return Ids(np.array(numbers, np.uint64), np.array(numbers, np.uint64))


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (0, []),
        (9, []),
        (10, [(0, 0)]),
        (24, [(0, 0), (0, 10)]),
        (99, [(0, 0), (0, 10)]),
    ],
)
def test_ids_of_records_that_are_replayed_are_not_known_before(
    begin: int, expected: list[tuple[int, int]]
) -> None:
    """A chunk counts only if it ends before the first record: it could hold its id."""
    seen = {(0, 0): ids(1), (0, 10): ids(2), (8, 20): ids(3)}
    assert sorted(_before(seen, begin)) == expected


def test_offsets_are_found_among_others() -> None:
    """Nothing is among nothing; both ends are found."""
    offsets = np.array([1, 2, 3, 9], np.int64)
    assert not _among(offsets, np.zeros(0, np.int64)).any()
    found = _among(offsets, np.array([1, 3, 5], np.int64))
    assert found.tolist() == [True, False, True, False]
