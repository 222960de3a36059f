"""What time it is by the records: one that leads by far moves nothing, a hundred do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.profiles.seen import BUCKETS, bucket_width
from consumer.profiles.stream_time import ENOUGH, LEAD, StreamClock, read
from consumer.sandbox.recount import SeenIds
from tests.property.budget import examples

NOW = 1_767_225_600_000
FUTURE = NOW + 70 * 365 * 86_400_000
HOUR = 3_600_000
TIMES = st.lists(
    st.one_of(
        st.integers(NOW - HOUR, NOW + 2 * HOUR),
        st.sampled_from([-1, 0, NOW, NOW + LEAD, NOW + LEAD + 1, FUTURE, 2**62]),
        st.lists(st.sampled_from([FUTURE, FUTURE + 1]), min_size=90, max_size=120),
    ),
    max_size=12,
).map(lambda parts: [t for p in parts for t in (p if isinstance(p, list) else [p])])


def times(*timestamps: int) -> tuple[list[int], list[int], StreamClock]:
    """Read timestamps from the start; gives now, filed and the clock."""
    found = read(StreamClock(), np.array(timestamps, np.int64))
    return found.now.tolist(), found.filed.tolist(), found.clock


@examples(100)
@example(stream=[NOW, FUTURE, NOW, NOW + HOUR], cuts=[2])
@given(stream=TIMES, cuts=st.lists(st.integers(0, 1_500), max_size=4))
def test_it_does_not_depend_on_batches_and_is_the_recounts(
    stream: list[int], cuts: list[int]
) -> None:
    """Any split gives the times that one record after the other gives."""
    oracle = SeenIds(86_400_000)
    expected = []
    for timestamp in stream:
        oracle.advance(timestamp)
        expected.append((oracle._stream_ms, oracle._filed_ms))
    clock, found = StreamClock(), []
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for begin, end in pairwise(bounds):
        part = read(clock, np.array(stream[begin:end], np.int64))
        clock = part.clock
        found += list(zip(part.now.tolist(), part.filed.tolist(), strict=True))
    assert found == expected
    assert all(filed >= now for now, filed in found)


def test_a_till_with_a_wrong_clock_stops_nothing() -> None:
    """Every tenth record is seventy years ahead, and the time stays what it is."""
    stream = [FUTURE if n % 10 == 5 else NOW + n for n in range(10_000)]
    now, filed, clock = times(*stream)
    assert max(now) == NOW + 9_999
    assert clock.time == NOW + 9_999
    assert len(set(filed)) < 9_100


def test_the_first_record_may_be_wrong() -> None:
    """What one record has set, the next may set back."""
    now, _, clock = times(FUTURE, NOW, NOW + 1)
    assert now == [FUTURE, NOW, NOW + 1]
    assert clock == StreamClock(NOW + 1)


@pytest.mark.parametrize("gap", [2 * HOUR, 30 * 24 * HOUR])
def test_after_a_quiet_time_the_clock_catches_up(gap: int) -> None:
    """A hundred records later it is right, and what they brought is remembered."""
    later = [NOW + gap + n for n in range(2 * ENOUGH)]
    now, filed, clock = times(NOW, NOW + 1, *later)
    assert now[ENOUGH] == NOW + 1
    assert now[ENOUGH + 1] == NOW + gap
    assert clock.time == later[-1]
    horizon = BUCKETS * bucket_width(86_400)
    assert all(at >= one for at, one in zip(filed[2:], later, strict=True))
    assert all(now[-1] - at <= horizon for at in filed[2:])


def test_while_it_doubts_it_says_how_far_the_records_may_be() -> None:
    """So that a lag after a quiet night is not the length of the night."""
    assert times(NOW, NOW, NOW + 9 * HOUR)[2].reached == NOW + 9 * HOUR
    assert times(NOW, NOW, FUTURE, NOW)[2].reached == NOW


def test_random_futures_are_filed_in_few_places() -> None:
    """A till that draws its times makes no heap of buckets."""
    drawn = np.random.default_rng(1).integers(NOW, FUTURE, 20_000)
    stream = np.where(np.arange(40_000) % 2, NOW, np.repeat(drawn, 2))
    found = read(StreamClock(NOW, 0, 0), stream)
    assert found.clock.time == NOW
    assert len(np.unique(found.filed)) < 100
