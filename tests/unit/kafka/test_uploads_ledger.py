"""Entries of the uploads ledger, as they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import PartitionHalt
from consumer.kafka.uploads_ledger import Entry, decode, encode, read_to

if TYPE_CHECKING:
    from confluent_kafka import Consumer

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


@dataclass
class Busy:
    """A consumer of a partition that somebody writes to faster than it reads."""

    given: int = 0
    assigned: list[Any] = field(default_factory=list)

    def assign(self, places: list[Any]) -> None:
        """Note what is to be read."""
        self.assigned = places

    def poll(self, _timeout: float) -> Any:  # noqa: ANN401 - a client's record
        """Give one more record: there always is one."""
        self.given += 1
        return Written(self.given - 1)

    def consume(self, most: int, _timeout: float) -> list[Any]:
        """Give a few more."""
        return [self.poll(0.0) for _ in range(min(most, 3))]


@dataclass
class Written:
    """A record of partition 2."""

    at: int

    def error(self) -> None:
        """None: no end is ever met."""

    def partition(self) -> int:
        """Give its partition."""
        return 2

    def offset(self) -> int:
        """Give its offset."""
        return self.at

    def key(self) -> bytes:
        """One of two batches."""
        return b"ab"[self.at % 2 : self.at % 2 + 1]

    def value(self) -> bytes | None:
        """Nothing after a while."""
        return b"%d" % self.at if self.at < 7 else None


def test_a_ledger_that_is_written_to_all_the_while_is_read_to_the_end_it_had() -> None:
    """What comes behind that end is not waited for; the latest values count."""
    busy = Busy()
    values = read_to(cast("Consumer", busy), {("uploads", 2): 6, ("uploads", 3): 0})
    assert [(one.topic, one.partition) for one in busy.assigned] == [
        ("uploads", 2),
        ("uploads", 3),
    ]
    assert busy.given == 8  # two calls of four
    assert values == {(2, b"a"): b"6"}
