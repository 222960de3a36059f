"""Values behind each other are the values, whichever are taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.events.packed import Packed

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
    assert Packed.of(packed) is packed
