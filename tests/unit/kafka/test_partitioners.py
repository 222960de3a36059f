"""By which partitioner keys were placed."""

from __future__ import annotations

import numpy as np
import pytest

from consumer.frames import Records
from consumer.kafka.partitioners import (
    PARTITIONERS,
    likely_first,
    murmur2,
    placed_by,
)

# From the tests of Kafka's own clients (UtilsTest.testMurmur2), as signed 32 bits.
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", KNOWN)
def test_murmur2_is_kafkas(key: bytes) -> None:
    """The hashes are those that Kafka's own tests expect."""
    assert murmur2(key) == KNOWN[key] % 2**32


def records(partitions: list[int], keys: list[bytes | None]) -> Records:
    """Make records."""
    count = len(keys)
    return Records(
        np.array(partitions, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        keys,
        [b""] * count,
    )


@pytest.mark.parametrize("name", PARTITIONERS)
def test_one_partitioner_is_found_out(name: str) -> None:
    """All of its records fit it; of another, only as many as chance has it."""
    keys: list[bytes | None] = [f"visitor-{n}".encode() for n in range(400)]
    places = [PARTITIONERS[name](key, 8) for key in keys if key]
    found = placed_by(records(places, keys), 8)
    assert found["keyed"] == found[name] == 400
    assert all(found[other] < 120 for other in PARTITIONERS if other != name)


def test_records_without_a_key_say_nothing() -> None:
    """They are not counted."""
    assert placed_by(records([0, 1], [None, b""]), 2)["keyed"] == 0


def test_a_key_is_looked_for_everywhere_but_first_where_it_probably_is() -> None:
    """The choices of the partitioners come first, and no partition is left out."""
    partitions = [*range(12)]
    for number in range(50):
        found = likely_first(b"visitor-%d" % number, partitions)
        assert sorted(found) == partitions
    likely = [place(b"abc", 12) for place in PARTITIONERS.values()]
    assert likely_first(b"abc", partitions)[:2] == likely
    assert likely_first(b"abc", []) == []
