"""The consumer that stays before somebody else, on a real broker."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from consumer.config import load_settings
from consumer.kafka.bounded_input import BoundedInput

if TYPE_CHECKING:
    from tests.integration.shop import Shop

PATIENCE = 30.0
QUIET = 0.5


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_nothing_is_given_before_its_bound_has_passed_it_and_nothing_is_left_out(
    shop: Shop, strategy: str
) -> None:
    """Two partitions with bounds of their own; a start again begins where it says."""
    shop.send(*[b"a%d" % n for n in range(9)], partition=0)
    shop.send(*[b"b%d" % n for n in range(9)], partition=1)
    how = f'[kafka.consumer]\n"partition.assignment.strategy" = "{strategy}"\n'
    shop.change("[purchases]", f"{how}[purchases]")
    with closing(BoundedInput(load_settings(shop.config), {0: 4})) as source:
        _assigned(source)
        source.start({0: 0, 1: 0})
        assert _given(source, 4) == {0: [0, 1, 2, 3]}

        source.bounds = {0: 6, 1: 1}
        assert _given(source, 3) == {0: [4, 5], 1: [0]}

        source.start({0: 5})
        assert _given(source, 1) == {0: [5]}

        source.pause([1])  # held for another reason
        source.bounds = {0: 6, 1: 9}
        assert _given(source, 0) == {}
        source.start({1: 1})
        assert _given(source, 8) == {1: list(range(1, 9))}

        source.bounds = {0: 9, 1: 9}
        assert _given(source, 3) == {0: [6, 7, 8]}


def _assigned(source: BoundedInput) -> None:
    """Wait for both partitions."""
    found: list[int] = []
    deadline = time.monotonic() + PATIENCE
    while sorted(found) != [0, 1]:
        assert time.monotonic() < deadline
        assert source.consume(10, 0.1).records is None
        found += source.rebalance().assigned


def _given(source: BoundedInput, count: int) -> dict[int, list[int]]:
    """Read until `count` records have come, and then nothing; offsets by partition."""
    found: dict[int, list[int]] = {}
    deadline = time.monotonic() + PATIENCE
    quiet = time.monotonic() + QUIET
    while time.monotonic() < quiet or sum(map(len, found.values())) < count:
        assert time.monotonic() < deadline
        records = source.consume(100, 0.1).records
        if records is None:
            continue
        quiet = time.monotonic() + QUIET
        for number, offset in zip(records.partitions, records.offsets, strict=True):
            found.setdefault(int(number), []).append(int(offset))
    return found
