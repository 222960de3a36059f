"""Too many dead letters are noticed at the same record, however batches were cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.events.dead_letter_limits import DeadLetterLimits, tallied
from consumer.frames import Tally
from tests.property.budget import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = DeadLetterLimits(in_a_row=4, ratio=0.5, window=10)


def first_beyond(flags: Sequence[bool], limits: DeadLetterLimits) -> int | None:
    """Find the record beyond a limit, one record at a time."""
    run = held = 0
    for place, refused in enumerate(flags):
        held = held * (place % limits.window != 0) + refused
        run = run + 1 if refused else 0
        over_run = limits.in_a_row and run > limits.in_a_row
        if refused and (over_run or held > limits.ratio * limits.window):
            return place
    return None


def in_batches(
    flags: Sequence[bool], cuts: Sequence[int], limits: DeadLetterLimits
) -> tuple[int | None, Tally]:
    """Find it in batches that end at the cuts."""
    tally, begin = Tally(), 0
    for end in [*sorted({cut % (len(flags) + 1) for cut in cuts}), len(flags)]:
        part = np.array(flags[begin:end], bool)
        after, beyond = tallied(tally, part, limits)
        if beyond is not None:
            return begin + beyond.row, tally
        tally, begin = after, end
    return None, tally


@given(
    st.lists(st.sampled_from([True, True, False]), max_size=60),
    st.lists(st.integers(0, 60), max_size=6),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 12),
)
@example([True] * 5, [2], 4, 1.0, 10)
@example([True, False] * 10, [3, 10], 0, 0.3, 10)
@examples(300)
def test_the_halting_record_depends_on_the_records_alone(
    flags: list[bool], cuts: list[int], in_a_row: int, ratio: float, window: int
) -> None:
    """Any cut into batches halts before the same record, with the same tally before."""
    limits = DeadLetterLimits(in_a_row, ratio, window)
    found, tally = in_batches(flags, cuts, limits)
    assert found == first_beyond(flags, limits)
    if found is None:
        assert tally == in_batches(flags, [], limits)[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([True] * 5, "4 dead letters in a row"),
        ([True, True, False] * 3, "5 dead letters among 8 records"),
    ],
)
def test_it_says_which_limit_was_reached(flags: list[bool], words: str) -> None:
    """The sentence has the figures that a person compares with the configuration."""
    _, beyond = tallied(Tally(), np.array(flags), LIMITS)
    assert beyond is not None
    assert beyond.what == words


def test_no_limits_let_everything_pass() -> None:
    """0 in a row and a ratio of 1 are no limits."""
    limits = DeadLetterLimits(in_a_row=0, ratio=1.0, window=100)
    _, beyond = tallied(Tally(), np.ones(100_000, bool), limits)
    assert beyond is None
