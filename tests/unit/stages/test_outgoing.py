"""Profiles that are produced are those of the columns, in order, some at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from consumer.profiles.buffer import Buffer
from consumer.stages import outgoing
from consumer.stages.outgoing import Outgoing


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_pairs_come_in_order_whatever_fits_a_piece(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as often as they are asked for."""
    monkeypatch.setattr(outgoing, "AT_ONCE", 3)
    pairs = [(b"v%d" % n, b"r" * n) for n in range(count + 2)]
    visitors = pa.array([visitor.decode() for visitor, _ in pairs], pa.string())
    records = Buffer.of([record for _, record in pairs])
    part = slice(1, count + 1)  # as of one partition among others
    found = Outgoing(visitors[part], records[part])
    assert len(found) == count
    assert bool(found) == (count > 0)
    for _ in range(2):
        assert list(found) == pairs[part]
    assert (b"v1", b"r") in found or not count
    assert (b"v0", b"") not in found
