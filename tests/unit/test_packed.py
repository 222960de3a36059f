"""Values behind each other are the values, whichever are taken."""

from __future__ import annotations

import weakref
from functools import partial
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.frames import Headers, Records
from consumer.packed import Packed, joined, taken, to_arrow

VALUES = st.lists(st.none() | st.binary(max_size=5), max_size=8)


@given(values=VALUES, data=st.data())
def test_what_is_taken_lies_where_it_says(
    values: list[bytes | None], data: st.DataObject
) -> None:
    """Absent values are empty ones; nothing is packed twice."""
    packed = Packed.of(values)
    held = [value or b"" for value in values]
    places = st.integers(0, max(0, len(held) - 1))
    rows = data.draw(st.lists(places, max_size=len(held), unique=True).map(sorted))
    taken = packed.take(np.array(rows, np.int64))
    for found, expected in ((packed, held), (taken, [held[row] for row in rows])):
        assert list(found) == expected
        spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
        assert [found.data[a:b].tobytes() for a, b in spans] == expected
        assert found.sizes.tolist() == [len(value) for value in expected]
        assert found.to_arrow().to_pylist() == expected
        assert [found[row] for row in range(len(found))] == expected
    assert Packed.of(packed) is packed


@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_what_is_joined_is_the_values_one_after_another(
    parts: list[list[bytes | None]],
) -> None:
    """Packed if all are; what is absent somewhere stays so."""
    whole = [value for part in parts for value in part]
    found = joined([Packed.unless_absent(part) for part in parts])
    assert list(found) == whole
    assert isinstance(found, Packed) == (None not in whole)
    rows = np.arange(0, len(whole), 2)
    assert list(taken(found, rows)) == whole[::2]
    assert to_arrow(found).to_pylist() == whole


def test_joined_records_keep_no_piece_beside_them() -> None:
    """A batch would be in memory twice, for as long as somebody may ask for headers."""
    places = np.zeros(1, np.int64)
    pieces = [
        Records(
            places.astype(np.int32),
            places,
            places,
            [b"k"],
            Packed.of([bytes([number]) * 9]),
            headers=partial(_headers, number),
        )
        for number in range(3)
    ]
    held = [weakref.ref(cast("Packed", piece.values)) for piece in pieces]
    whole = Records.joined(pieces).take(np.array([2, 0]))
    del pieces
    assert [one() for one in held] == [None, None, None]
    assert [whole.headers(row) for row in range(2)] == [[("n", b"\2")], [("n", b"\0")]]
    assert list(whole.values) == [b"\2" * 9, b"\0" * 9]


def _headers(number: int, _: int) -> Headers:
    return [("n", bytes([number]))]
