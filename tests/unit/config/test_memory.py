"""`[aggregate] memory`: what it is divided into."""

import pytest

from consumer.config.memory import (
    CODE,
    PROCESS,
    RECORD_OBJECT,
    TIMES_A_PROFILE,
    TIMES_A_RECORD,
    UNPACKED,
    MemoryShares,
)

SETTINGS = (600_000_000, 800_000_000, 1_000_000_000, 2_000_000_000, 64_000_000_000)


@pytest.mark.parametrize("memory", SETTINGS)
def test_the_parts_and_the_process_itself_are_no_more_than_the_setting(
    memory: int,
) -> None:
    """Whatever grows has a bound, and the bounds together stay within the setting."""
    shares = MemoryShares.of(memory)
    ahead = shares.fetched + shares.fetched_records * RECORD_OBJECT
    ahead += shares.response * UNPACKED
    pages = shares.mapped - CODE
    grown = ahead + shares.batch + shares.produced + shares.cached + pages
    assert 0.99 * memory < PROCESS + grown <= memory


def test_every_part_follows_the_setting() -> None:
    """More memory is more for each, and the least that is allowed is some for each."""
    least, *others = (MemoryShares.of(memory) for memory in SETTINGS)
    names = MemoryShares.__slots__
    assert all(getattr(least, name) > 0 for name in names)
    for some, more in zip([least, *others], others, strict=False):
        assert all(getattr(some, name) < getattr(more, name) for name in names)


def test_a_batch_of_small_records_is_some_thousands_at_least() -> None:
    """With the least memory that is allowed a batch is still worth its transaction."""
    shares = MemoryShares.of(SETTINGS[0])
    assert shares.records_at_once(1_000, 1_000 * 225, 900 * 500) > 3_000


def test_what_a_batch_makes_stays_within_its_part() -> None:
    """Large records make small batches, and so do profiles with many attributes."""
    shares = MemoryShares.of(SETTINGS[2])
    for record, profile in ((225, 500), (225, 2_000), (100_000, 500), (1, 1)):
        count = shares.records_at_once(100, 100 * record, 100 * profile)
        taken = count * (TIMES_A_RECORD * record + TIMES_A_PROFILE * profile)
        assert 0.99 * shares.batch < taken <= shares.batch
    assert shares.records_at_once(1, 10**12, 0) == 1
    assert shares.records_at_once(1, 0, 0) > 0
