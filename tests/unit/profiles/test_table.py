"""The flat memory before the store is a dictionary that counts its bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.buffer import Buffer
from consumer.profiles.table import SMALLEST_ROWS, Keys, Pairs, Table
from consumer.profiles.table_kernel import LINE
from tests.property.budget import examples

# High halves that meet in the index, at its end too, and keys that differ in one half.
KEYS = [
    high.to_bytes(8, "big") + low.to_bytes(8, "big")
    for high in (0, 1, 2**64 // SMALLEST_ROWS, 2**63, 2**64 - 1)
    for low in (0, 1, 2**64 - 1)
]


def read(table: Table, keys: list[bytes]) -> list[bytes]:
    """Give the records of keys, empty where there is none."""
    rows, sizes = table.find(Keys.of(keys))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    found = Buffer.blank(bounds)
    table.read(rows, found.data, bounds)
    return found.to_list()


@examples(100)
@given(data=st.data())
def test_it_is_a_dictionary(data: st.DataObject) -> None:
    """Records that grow, shrink, go and come again are those last put."""
    table, expected = Table(), dict[bytes, bytes]()
    dirty = set[bytes]()
    for _ in range(data.draw(st.integers(1, 8))):
        keys = data.draw(st.lists(st.sampled_from(KEYS)))
        pairs = [(key, data.draw(st.binary(min_size=1, max_size=40))) for key in keys]
        table.put(Pairs.of(pairs))
        expected |= dict(pairs)
        dirty |= set(keys)
        gone = data.draw(st.lists(st.sampled_from(KEYS), max_size=2))
        table.remove(Keys.of(gone))
        for key in gone:
            expected.pop(key, None)
            dirty.discard(key)
        assert read(table, KEYS) == [expected.get(key, b"") for key in KEYS]
        assert list(table.dirty()) == [(key, expected[key]) for key in sorted(dirty)]
        waiting = [len(expected[key]) for key in dirty]
        assert table.waiting == len(waiting)
        assert table.unwritten == sum(waiting) + 8 * LINE * len(waiting)
        if data.draw(st.booleans()):
            table.clean()
            dirty.clear()
        if data.draw(st.booleans()):
            most = data.draw(st.integers(0, 2_000))
            forgot = table.shrink(most)
            kept = [
                key for key, found in zip(KEYS, read(table, KEYS), strict=True) if found
            ]
            assert forgot or len(kept) == len(expected)
            assert dirty <= {*kept}, "what is nowhere else is not forgotten"
            expected = {key: expected[key] for key in kept}
            assert table.nbytes <= most or dirty == {*kept}


def test_it_grows_and_says_so() -> None:
    """A hundred thousand records are found again; the bytes counted are those held."""
    rng = np.random.default_rng(1)
    table = Table()
    keys = Keys(*rng.integers(0, 2**63, (2, 100_000)).astype(np.uint64))
    records = [bytes(int(size)) for size in rng.integers(1, 300, 100_000)]
    for begin in range(0, 100_000, 7_000):
        part = slice(begin, begin + 7_000)
        table.put(Pairs(keys[part], Buffer.of(records[part])))
    _, sizes = table.find(keys)
    assert sizes.tolist() == list(map(len, records))
    held = sum(map(len, records))
    assert held < table.nbytes < 2 * held
    # Written again at the same size, nothing grows.
    before = table.nbytes
    table.put(Pairs(keys, Buffer.of(records)))
    assert table.nbytes == before


def test_what_was_put_longest_ago_is_forgotten_first() -> None:
    """Half of the memory stays, the newest; what is dirty stays however old it is."""
    rng = np.random.default_rng(2)
    table = Table()
    keys = Keys(*rng.integers(0, 2**63, (2, 9_000)).astype(np.uint64))
    for begin in range(0, 9_000, 1_000):
        part = slice(begin, begin + 1_000)
        table.put(Pairs(keys[part], Buffer.of([bytes([begin // 1_000]) * 100] * 1_000)))
        if begin:
            table.clean()
        table.put(Pairs(keys[:10], Buffer.of([b"dirty"] * 10)))
    size = table.nbytes
    assert table.shrink(size)
    rows, _ = table.find(keys)
    assert (rows[:10] >= 0).all()
    assert not (rows[10:4_000] >= 0).any()
    assert (rows[5_000:] >= 0).all()
    assert table.nbytes <= size // 2


def test_gaps_are_closed_before_anything_is_forgotten() -> None:
    """Records that outgrew their rooms leave nothing behind, and are not lost."""
    table = Table()
    keys = Keys.of([number.to_bytes(16, "big") for number in range(1_000)])
    for size in (50, 100, 200, 400):
        records = [bytes([number % 256]) * size for number in range(1_000)]
        table.put(Pairs(keys, Buffer.of(records)))
    table.clean()
    taken = table.nbytes
    assert not table.shrink(taken - 1)
    assert table.nbytes < 0.7 * taken
    rows, sizes = table.find(keys)
    found = Buffer.blank(np.concatenate([[0], np.cumsum(sizes)]))
    table.read(rows, found.data, found.bounds)
    assert found.to_list() == records


@pytest.mark.parametrize("call", ["empty", "full"])
def test_memory_that_is_refused_changes_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved before memory is there would be read from where it was."""
    table, pairs = Table(), {key: key * 5 for key in KEYS}
    table.put(Pairs.of(pairs.items()))
    table.remove(Keys.of(KEYS[::2]))  # gaps to close

    def refused(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as scarce:
        scarce.setattr(np, call, refused)
        with pytest.raises(MemoryError):
            table.shrink(0)
    left = {key: pairs[key] for key in KEYS[1::2]}
    assert read(table, [*left]) == [*left.values()]
    assert list(table.dirty()) == sorted(left.items())


def test_memory_that_was_used_is_given_back_when_less_is_allowed() -> None:
    """A share falls as partitions are added, in steps that each look small."""
    table = Table()
    allowed = [1_200_000 // running for running in range(1, 9)]
    for most in allowed:
        for number in range(100):
            key = (number + most).to_bytes(8, "big") * 2
            table.put(Pairs.of([(key, bytes(10_000))]))
            table.clean()
            if table.nbytes > most:
                table.shrink(most)
    assert table._touched <= allowed[-1] * 1.3


def test_as_much_ahead_as_the_system_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where four times as much is refused, as much as is needed will do."""
    table, empty = Table(), np.empty

    def scarce(shape: Any, kind: Any = float) -> Any:  # noqa: ANN401 - numpy's
        if kind is np.uint8 and shape > 1_000_000:
            raise MemoryError
        return empty(shape, kind)

    monkeypatch.setattr(np, "empty", scarce)
    table.put(Pairs.of([(KEYS[0], bytes(400_000))]))
    assert read(table, KEYS[:1]) == [bytes(400_000)]
