"""The search for rows at fault in a refused file: cost, evidence, and its guards."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target.bisection import (
    MOST_IN_A_ROW,
    MOST_REFUSALS,
    MOST_SUSPECTS,
    Search,
    Verdict,
)

LARGEST = 500_000


@dataclass
class Target:
    """Takes every file without a bad row, and counts its calls."""

    bad: frozenset[int]
    calls: int = 0
    suspects: list[int] = field(default_factory=list)

    def search(self, first: int, last: int) -> tuple[Search, bool]:
        """Deliver rows `first` to `last` - 1; tell whether the search came through."""
        search = Search()
        files = [(first, last)]
        while files:
            begin, end = files.pop()
            self.calls += 1
            if not any(begin <= row < end for row in self.bad):
                search.accepted()
                continue
            match search.refused(end - begin):
                case Verdict.GIVE_UP:
                    return search, False
                case Verdict.SUSPECT:
                    self.suspects.append(begin)
                case Verdict.DIVIDE:
                    half = (begin + end) // 2
                    files += [(half, end), (begin, half)]
        return search, True


@given(st.integers(0, LARGEST - 1))
def test_one_bad_row_of_the_largest_file_is_found_in_forty_calls(row: int) -> None:
    """Wherever it lies; all other rows are delivered on the way."""
    target = Target(frozenset({row}))
    search, through = target.search(0, LARGEST)
    assert through
    assert target.suspects == [row]
    assert target.calls <= 40
    assert search.proves(taken_lately=False)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_few_bad_rows_are_all_found(seed: int, count: int) -> None:
    """As many as the cost of a search allows."""
    bad = frozenset(Random(seed).sample(range(LARGEST), count))
    target = Target(bad)
    _, through = target.search(0, LARGEST)
    assert through
    assert set(target.suspects) == bad


@pytest.mark.parametrize("rows", [30, 1_000, LARGEST])
def test_a_file_without_a_good_row_is_given_up_early(rows: int) -> None:
    """What is refused as a whole is no fault of rows; nothing is put down."""
    target = Target(frozenset(range(rows)))
    _, through = target.search(0, rows)
    assert not through
    assert target.calls <= MOST_IN_A_ROW + 1


def test_many_bad_rows_are_given_up_within_the_budget() -> None:
    """A tenth of bad rows costs calls, but not the hour."""
    target = Target(frozenset(range(0, LARGEST, 10)))
    search, through = target.search(0, LARGEST)
    assert not through
    assert search.refusals <= MOST_REFUSALS + 1
    assert len(target.suspects) <= MOST_SUSPECTS


def test_rows_are_at_fault_only_if_target_took_something() -> None:
    """In words: another file of late is enough; by failing: a part of the same file."""
    assert not Search().proves(taken_lately=False)
    assert Search().proves(taken_lately=True)
    assert not Search(doubtful=True).proves(taken_lately=True)
    assert Search(doubtful=True, taken=1).proves(taken_lately=False)
