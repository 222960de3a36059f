"""The flat memory before the store is a dictionary that counts its bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.buffer import Buffer
from consumer.profiles.table import SMALLEST_ROWS, Keys, Packed, Table
from tests.property.budget import examples

# Low halves that meet in the index, and keys that differ in one half only.
KEYS = [
    high.to_bytes(8, "big") + low.to_bytes(8, "big")
    for high in (0, 1, 2**64 - 1)
    for low in (0, 1, SMALLEST_ROWS * 2, SMALLEST_ROWS * 4, 2**64 - 1)
]


def read(table: Table, keys: list[bytes]) -> list[bytes]:
    """Give the records of keys, empty where there is none."""
    rows = table.find(Keys.of(keys))
    bounds = np.concatenate([[0], np.cumsum(table.sizes(rows))])
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
        table.put(Packed.of(pairs))
        expected |= dict(pairs)
        dirty |= set(keys)
        gone = data.draw(st.lists(st.sampled_from(KEYS), max_size=2))
        table.remove(Keys.of(gone))
        for key in gone:
            expected.pop(key, None)
            dirty.discard(key)
        assert read(table, KEYS) == [expected.get(key, b"") for key in KEYS]
        assert list(table.dirty()) == [(key, expected[key]) for key in sorted(dirty)]
        if data.draw(st.booleans()):
            table.clean()
            dirty.clear()


def test_it_grows_and_says_so() -> None:
    """A hundred thousand records are found again; the bytes counted are those held."""
    rng = np.random.default_rng(1)
    table = Table()
    keys = Keys(*rng.integers(0, 2**63, (2, 100_000)).astype(np.uint64))
    records = [bytes(int(size)) for size in rng.integers(1, 300, 100_000)]
    for begin in range(0, 100_000, 7_000):
        part = slice(begin, begin + 7_000)
        table.put(Packed(keys[part], Buffer.of(records[part])))
    rows = table.find(keys)
    assert table.sizes(rows).tolist() == list(map(len, records))
    held = sum(map(len, records))
    assert held < table.nbytes < 2 * held
    # Written again at the same size, nothing grows.
    before = table.nbytes
    table.put(Packed(keys, Buffer.of(records)))
    assert table.nbytes == before
