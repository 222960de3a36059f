"""Event ids seen: never forgotten within the horizon, whatever the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.fold import hash128
from consumer.profiles.seen import BUCKETS, Filter, Ids, SeenIds, bucket_width, masks
from consumer.profiles.store import Changes
from tests.property.budget import examples
from tests.property.memory_store import MemoryStore

if TYPE_CHECKING:
    from consumer.profiles.columns import Ints

WIDTH = 10


def ids_of(numbers: list[int]) -> Ids:
    """Hash numbers to ids."""
    texts = pl.Series([str(one) for one in numbers], dtype=pl.String)
    return Ids(*hash128(texts))


def pairs(*halves: tuple[int, int]) -> Ids:
    """Make ids of given halves."""
    high, low = np.array(halves, np.uint64).reshape(-1, 2).T
    return Ids(high, low)


class Seen:
    """Ids seen over a store, fed batch by batch as the aggregate stage does."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.seen = SeenIds(WIDTH, self.store.runs_of)
        self.offset = 0

    def feed(self, numbers: list[int], times: list[int]) -> list[bool]:
        """Ask for a batch, then remember what was new."""
        ids, stream = ids_of(numbers), np.array(times, np.int64)
        repeated, other = self.seen.duplicates(ids, stream, stream)
        assert not other.any()
        buckets = self.seen.bucket_of(stream[~repeated])
        fresh = ids.where(~repeated)
        for bucket in np.unique(buckets).tolist():
            mine = fresh.where(buckets == bucket)
            self.store.commit(Changes(seen={(bucket, self.offset): mine}))
            self.seen.remember({bucket: mine})
        self.offset += len(numbers)
        if times:
            oldest = self.seen.oldest(times[-1])
            self.seen.forget(oldest)
            self.store.drop_buckets_before(oldest)
        return [bool(one) for one in repeated]


def walked(numbers: list[int], times: list[int]) -> list[bool]:
    """Say which ids repeat, one after the other."""
    last: dict[int, int] = {}
    flags = []
    for number, time in zip(numbers, times, strict=True):
        bucket = time // WIDTH
        repeats = number in last and bucket - last[number] <= BUCKETS
        flags.append(repeats)
        if not repeats:
            last[number] = bucket
    return flags


@examples(150)
@given(data=st.data())
def test_repeats_are_those_of_a_walk_in_any_split(data: st.DataObject) -> None:
    """Repeats within the horizon are found, others are not, however batches fall."""
    steps = st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 1, 9, 10, 40, 80, 95]))
    drawn = data.draw(st.lists(steps, max_size=30))
    numbers = [number for number, _ in drawn]
    times = np.cumsum([step for _, step in drawn], dtype=np.int64).tolist()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(drawn)), max_size=4)))
    seen, found = Seen(), list[bool]()
    for start, end in zip([0, *cuts], [*cuts, len(drawn)], strict=True):
        found += seen.feed(numbers[start:end], times[start:end])
    assert found == walked(numbers, times)


@pytest.mark.parametrize(("later", "repeats"), [(80, True), (89, True), (90, False)])
def test_the_horizon_ends_with_the_eighth_bucket(later: int, repeats: bool) -> None:  # noqa: FBT001 - a parameter
    """An id counts as seen while its bucket is at most eight behind."""
    apart, together = Seen(), Seen()
    apart.feed([1], [0])
    assert apart.feed([1], [later]) == [repeats]
    assert together.feed([1, 1], [0, later]) == [False, repeats]


def test_a_repeat_does_not_prolong_the_horizon() -> None:
    """The horizon runs from the event that counted, not from its repeats."""
    seen = Seen()
    assert seen.feed([1], [0]) == [False]
    assert seen.feed([1], [50]) == [True]
    assert seen.feed([1], [90]) == [False]


@pytest.mark.parametrize("horizon", [86_400.0, 1.0, 0.008, 0.001])
def test_eight_buckets_make_a_horizon(horizon: float) -> None:
    """A bucket is an eighth of the horizon, at least a millisecond."""
    assert bucket_width(horizon) == max(1, int(horizon * 1000) // 8)


HALF = st.integers(0, 2**64 - 1)


@given(
    held=st.lists(st.tuples(st.sampled_from([0, 1, 2**64 - 1]), HALF), max_size=40),
    other=st.lists(st.tuples(st.sampled_from([0, 1, 2**64 - 1]), HALF), max_size=10),
)
def test_a_sorted_run_knows_exactly_its_ids(
    held: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    """Ids with equal high halves are told apart, none is missed or made up."""
    asked = [*held[::2], *other]
    found = pairs(*asked).among(pairs(*held).sorted())
    known = {(high, low >> 32) for high, low in held}
    assert found.tolist() == [(high, low >> 32) in known for high, low in asked]


@given(st.lists(st.lists(HALF, max_size=50), max_size=6))
def test_a_filter_never_forgets(parts: list[list[int]]) -> None:
    """Every id that was added may be there, over any number of additions."""
    held, added = Filter(), list[tuple[int, int]]()
    for part in parts:
        held.add(pairs(*[(0, low) for low in part]))
        added += [(0, low) for low in part]
    ids = pairs(*added)
    assert held.may_have(ids, masks(ids)).all()


def test_a_filter_grows_and_stays_selective() -> None:
    """Over many layers no id is missed and few are mistaken."""
    held, rounds, size = Filter(), 12, 3_000
    for part in range(rounds):
        held.add(ids_of(list(range(part * size, (part + 1) * size))))
    every = ids_of(list(range(rounds * size)))
    others = ids_of(list(range(10**6, 10**6 + 20_000)))
    assert held.may_have(every, masks(every)).all()
    assert held.may_have(others, masks(others)).mean() < 0.03


@given(st.lists(st.tuples(HALF, HALF)))
def test_ids_come_back_from_bytes(halves: list[tuple[int, int]]) -> None:
    """Sixteen bytes an id hold it whole."""
    data = pairs(*halves).to_bytes()
    again = Ids.from_bytes(data)
    assert len(data) == 16 * len(halves)
    assert list(zip(again.high.tolist(), again.low.tolist(), strict=True)) == halves


def test_no_ids_are_no_repeats() -> None:
    """An empty batch is answered with nothing."""
    none: Ints = np.zeros(0, np.int64)
    repeated, other = Seen().seen.duplicates(ids_of([]), none, none)
    assert (repeated.tolist(), other.tolist()) == ([], [])


def test_ids_stay_seen_when_the_horizon_is_changed() -> None:
    """Buckets are named by when they begin, so another width reads them right."""
    first = Seen()
    assert first.feed([1], [1_000]) == [False]
    for width, later, repeats in [
        (WIDTH * 4, 1_000 + 30 * WIDTH, True),
        (WIDTH // 2, 1_000 + 3 * WIDTH, True),
        (WIDTH // 2, 1_000 + 6 * WIDTH, False),
    ]:
        seen = SeenIds(width, first.store.runs_of)
        for bucket in first.store.buckets():
            for run in first.store.runs_of(bucket):
                seen.remember({bucket: run})
        at = np.array([later], np.int64)
        found, _ = seen.duplicates(ids_of([1]), at, at)
        assert found.tolist() == [repeats]


@pytest.mark.parametrize("flushed", [True, False])
def test_a_repeat_that_says_something_else_is_a_conflict(*, flushed: bool) -> None:
    """It is held against the first of its id, in the store or in the same batch."""
    seen = Seen()
    high, low = hash128(pl.Series(["a", "a", "b", "b", "b", "c"]))
    says = np.array([1, 1, 1, 2, 1, 2**40 + 1], np.uint64)
    ids, at = Ids.of(high, low, says), np.zeros(6, np.int64)
    if flushed:
        first = ids.where(np.array([0, 2]))
        seen.store.commit(Changes(seen={(0, 0): first.sorted()}))
        seen.seen.remember({0: first})
    repeated, other = seen.seen.duplicates(ids, at, at)
    news = [flushed, True, flushed, True, True, False]
    assert repeated.tolist() == news
    assert other.tolist() == [False, False, False, True, False, False]
