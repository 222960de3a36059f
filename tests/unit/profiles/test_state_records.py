"""The records of the state topic bring back what they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from consumer.profiles import state_records
from consumer.profiles.seen import Ids
from consumer.profiles.state_records import chunked, to_changes, to_records
from consumer.profiles.store import Position

if TYPE_CHECKING:
    import pytest

POSITION = Position("topic", 12, 34, 5)


def ids(count: int) -> Ids:
    """Make ids."""
    return Ids(np.arange(count, dtype=np.uint64), np.arange(count, dtype=np.uint64))


def test_records_read_back_are_the_changes_written() -> None:
    """Position, ids and forgotten chunks come back from keys and values."""
    records = to_records(POSITION, {(3, 7): ids(4)}, [(1, 2), (1, 300)])
    changes = to_changes(records)
    assert changes.position == POSITION
    assert changes.seen.keys() == {(3, 7)}
    assert changes.seen[3, 7].high.tolist() == [0, 1, 2, 3]
    assert changes.forgotten == [(1, 2), (1, 300)]


def test_a_tombstone_takes_back_what_came_before_it() -> None:
    """Ids written and forgotten within one read do not come back."""
    written = to_records(POSITION, {(3, 7): ids(4)}, [])
    forgotten = to_records(POSITION, {}, [(3, 7)])
    changes = to_changes([*written, *forgotten])
    assert changes.seen == {}
    assert changes.forgotten == [(3, 7)]


def test_unknown_records_are_left_alone() -> None:
    """A key of a later release, or the position's tombstone, changes nothing."""
    changes = to_changes([(b"later", b"x"), (b"position", None), (b"ids", b"x")])
    assert (changes.position, changes.seen, changes.forgotten) == (None, {}, [])


def test_chunks_are_cut_by_bucket_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk exceeds its size; each is named by bucket and first offset."""
    monkeypatch.setattr(state_records, "MOST_IDS", 2)
    buckets, offsets = np.array([1, 1, 2, 1, 2]), np.array([10, 11, 12, 13, 14])
    found = chunked(ids(5), buckets, offsets)
    listed = {name: part.low.tolist() for name, part in found.items()}
    assert listed == {(1, 10): [0, 1], (1, 13): [3], (2, 12): [2, 4]}
