"""Entries of the uploads ledger, as they are written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import PartitionHalt
from consumer.kafka.uploads_ledger import Entry, decode, encode

TIMES = st.floats(0, 2e9)
OFFSETS = st.integers(0, 2**62)
INTENTS = st.builds(
    Entry,
    batch=st.text("0123456789abcdef", min_size=32, max_size=32),
    partition=st.integers(0, 200),
    ranges=st.lists(st.tuples(OFFSETS, OFFSETS), max_size=5).map(tuple),
    exact=st.booleans(),
    rows=st.integers(0, 500_000),
    intent_at=TIMES,
)


@given(INTENTS, st.text(min_size=1), st.text(), TIMES, st.none() | TIMES)
def test_entries_are_read_back_as_they_were_written(
    intent: Entry, batch_id: str, url: str, at: float, ambiguous_at: float | None
) -> None:
    """An intent and its acceptance each stand alone, as compaction leaves them."""
    accepted = intent.accept(batch_id, url, at, ambiguous_at)
    assert not intent.accepted
    assert accepted.accepted
    doubted = replace(accepted, doubtful=True, stuck=True)
    for entry in (intent, accepted, doubted):
        assert decode(entry.batch.encode(), encode(entry), entry.partition) == entry


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", b"[]", b'{"v": 1}', b'{"v": 2}', b'{"v": 1, "ranges": 7}'],
)
def test_what_this_release_cannot_read_halts_the_partition(value: bytes) -> None:
    """A record of a later release or of nobody's is never taken for no record."""
    with pytest.raises(PartitionHalt) as caught:
        decode(b"batch", value, 3)
    assert caught.value.reason == "ledger_unreadable"


def test_the_documented_form_is_what_is_written() -> None:
    """Other tools may read the topic: names and states are part of the contract."""
    entry = Entry("b", 0, ((1, 5), (9, 9)), exact=True, rows=4, intent_at=7.5)
    assert json.loads(encode(entry)) == {
        "v": 1,
        "state": "intent",
        "ranges": [[1, 5], [9, 9]],
        "exact": True,
        "rows": 4,
        "intent_at": 7.5,
    }
    assert json.loads(encode(entry.accept("id", "url", 8.0, None)))["state"] == (
        "accepted"
    )
