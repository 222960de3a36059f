"""A profile's time is that of the oldest event in its transaction, as far as known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from consumer.kafka.profiles_batches import columns, event_times, since_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from consumer.kafka.profiles_batches import ProfileBatch


@dataclass
class Record:
    """What is asked of a message."""

    at: int
    own_time: int
    told: list[tuple[str, str | bytes | None]] | None = None
    body: bytes | None = b"v"

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        """Give the headers as the client does: values are bytes."""
        if self.told is None:
            return None
        return [(k, v.encode() if isinstance(v, str) else v) for k, v in self.told]

    def timestamp(self) -> tuple[int, int]:
        """Give its kind and the milliseconds."""
        return 1, self.own_time

    def offset(self) -> int:
        """Give its place."""
        return self.at

    def value(self) -> bytes | None:
        """Give its value."""
        return self.body


def messages(*records: Record) -> Sequence[Message]:
    """Pass records off as messages."""
    return cast("Sequence[Message]", records)


def test_the_header_holds_for_the_rest_of_its_transaction() -> None:
    """The first profile of each transaction says it; until then it is the profile's."""
    records = messages(
        Record(1, 9_000),
        Record(2, 10_000, since_header(2.5)),
        Record(3, 10_000),
        Record(4, 20_000, since_header(15.0)),
    )
    assert event_times(records, None) == ([9_000, 2_500, 2_500, 15_000], 15_000)


def test_it_holds_on_in_the_next_batch() -> None:
    """A transaction may be handed over in several batches."""
    assert event_times(messages(Record(5, 9_000)), 4_000) == ([4_000], 4_000)


def test_a_profile_is_never_older_than_its_record_says() -> None:
    """A clock that runs ahead makes no latency below zero out of others' headers."""
    assert event_times(messages(Record(5, 3_000)), 4_000) == ([3_000], 4_000)


def test_other_headers_are_left_alone() -> None:
    """Somebody else's header, or a broken one, is no time."""
    told: list[tuple[str, str | bytes | None]] = [
        ("x", "1"),
        ("pos-consumer-since", "soon"),
    ]
    assert event_times(messages(Record(5, 3_000, told)), None) == ([3_000], None)


def test_without_an_event_there_is_no_header() -> None:
    """A transaction that folded nothing does not say when its oldest event was."""
    assert since_header(None) is None


def test_tombstones_lose_their_time_with_their_row() -> None:
    """Columns stay of equal length, and each row has its own time."""
    found: ProfileBatch = columns(
        0,
        1,
        messages(Record(1, 10), Record(2, 20, body=None), Record(3, 30)),
        [10, 20, 30],
        None,
    )
    assert found.timestamps.tolist() == [10, 30]
    assert found.offsets.tolist() == [1, 3]
    assert (found.next_offset, found.records) == (4, 3)
