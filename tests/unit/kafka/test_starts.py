"""Starts: a consumer reads from where it was told, or has a reason."""

from __future__ import annotations

import numpy as np

from consumer.frames import Records
from consumer.kafka.starts import Starts


def _records(*places: tuple[int, int]) -> Records:
    return Records(
        partitions=np.array([p for p, _ in places], np.int32),
        offsets=np.array([o for _, o in places], np.int64),
        timestamps=np.zeros(len(places), np.int64),
        keys=[b"k"] * len(places),
        values=[b"v"] * len(places),
        headers=lambda _: [],
    )


def test_records_from_the_start_on_are_kept() -> None:
    """Nothing is asked again, now or later."""
    starts = Starts()
    starts.expect(3, 100)

    assert starts.judge(_records((3, 100), (3, 101))) == (None, {})
    assert starts.judge(_records((3, 500))) == (None, {})


def test_a_partition_that_begins_too_late_is_sent_back() -> None:
    """What it gave is dropped, what others gave is kept."""
    starts = Starts()
    starts.expect(0, 100)
    starts.expect(1, 7)

    kept, back = starts.judge(_records((0, 150), (1, 7), (0, 151)))

    assert kept is not None
    assert kept.tolist() == [False, True, False]
    assert back == {0: 100}
    assert starts.judge(_records((0, 100), (0, 101))) == (None, {})


def test_a_gap_that_shows_again_is_one() -> None:
    """Control records and compaction leave offsets without a record."""
    starts = Starts()
    starts.expect(0, 100)
    starts.judge(_records((0, 102)))

    assert starts.judge(_records((0, 102), (0, 103))) == (None, {})


def test_records_before_the_start_are_dropped() -> None:
    """They have been worked already."""
    starts = Starts()
    starts.expect(0, 100)

    kept, back = starts.judge(_records((0, 98), (0, 99), (0, 100)))

    assert kept is not None
    assert kept.tolist() == [False, False, True]
    assert back == {}


def test_a_partition_that_left_is_not_awaited() -> None:
    """Its next assignment sets its own start."""
    starts = Starts()
    starts.expect(0, 100)
    starts.forget([0])

    assert starts.judge(_records((0, 150))) == (None, {})
