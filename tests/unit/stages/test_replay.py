"""A dead letter becomes the record that it was, or it is said why not."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from consumer.events.dead_letters import to_record
from consumer.events.letters import Letter, letters
from consumer.frames import DeadLetter, Records
from consumer.stages.replay import (
    AGAIN,
    GONE,
    NOT_OURS,
    OTHER_TOPIC,
    TOO_LARGE,
    Choice,
    Source,
)

LARGE = b"x" * 5_000


def records(value: bytes | None, headers: list[tuple[str, bytes | None]]) -> Records:
    """Make one record, at partition 3, offset 70, of the year 2000."""
    return Records(
        np.array([3], np.int32),
        np.array([70], np.int64),
        np.array([946_684_800_000], np.int64),
        [b"ann"],
        [value],
        lambda _row: headers,
    )


def refused(
    value: bytes | None = b"broken",
    headers: list[tuple[str, bytes | None]] | None = None,
    largest: int = 10_000,
) -> Letter:
    """Give the letter of a record, as it comes back from its topic."""
    letter = DeadLetter(0, "undecodable", "It ends early.", 7)
    whole = records(value, headers or [("trace", b"abc")])
    key, kept, written = to_record(letter, whole, "purchases", "id-1", largest)
    pairs = [(n, t.encode() if isinstance(t, str) else t) for n, t in written]
    found = Records(
        np.array([3], np.int32),
        np.array([5], np.int64),
        np.array([0], np.int64),
        [key],
        [kept],
        lambda _row: pairs,
    )
    return next(letters(found))


def choice(
    original: Records | None = None,
    *,
    largest: int = 100_000,
    replayed: dict[int, int] | None = None,
    topic_id: str = "id-1",
) -> Choice:
    """Choose for the topic `purchases`, which holds the original or not."""
    source = Source(topic_id, largest, {3: replayed or {}})
    return Choice({"purchases": source}, lambda *_: original)


def test_a_copy_is_the_original_and_tells_where_that_lies() -> None:
    """Key, value, headers and timestamp are its own; the origin stands behind."""
    found = choice().of(refused())
    assert isinstance(found, tuple)
    topic, copy = found
    assert topic == "purchases"
    assert (copy.partition, copy.origin, copy.timestamp) == (3, 70, 946_684_800_000)
    assert (copy.key, copy.value) == (b"ann", b"broken")
    assert copy.headers == [
        ("trace", b"abc"),
        ("pos-consumer-origin-topic-id", b"id-1"),
        ("pos-consumer-origin-partition", b"3"),
        ("pos-consumer-origin-offset", b"70"),
    ]


def test_a_copy_that_is_refused_again_has_one_origin() -> None:
    """The copy of a copy names the copy, and nothing before it."""
    before: list[tuple[str, bytes | None]]
    before = [("pos-consumer-origin-offset", b"12"), ("trace", b"abc")]
    found = choice().of(refused(headers=before))
    assert isinstance(found, tuple)
    names = [name for name, _ in found[1].headers]
    assert names.count("pos-consumer-origin-offset") == 1
    assert dict(found[1].headers)["pos-consumer-origin-offset"] == b"70"


def test_what_was_replayed_is_left_alone() -> None:
    """The ledger is asked by the origin, whatever letter stands for it."""
    assert choice(replayed={70: 900}).of(refused()) == AGAIN
    assert isinstance(choice(replayed={71: 900}).of(refused()), tuple)


def test_two_letters_of_one_record_are_one() -> None:
    """A topic of dead letters outlives the state: a record may be refused anew."""
    one = choice()
    assert isinstance(one.of(refused()), tuple)
    assert one.of(refused()) == AGAIN


def test_letters_of_other_topics_are_left_alone() -> None:
    """A topic that was recreated under its name is another one."""
    assert choice(topic_id="id-2").of(refused()) == OTHER_TOPIC
    foreign = Letter(3, 5, 0, b"k", b"v", [], None)
    assert choice().of(foreign) == NOT_OURS


@pytest.mark.parametrize(
    ("original", "whole"),
    [(records(LARGE, [("a", b"b")]), True), (None, False), (records(b"y", []), False)],
)
def test_a_letter_that_was_cut_is_read_from_its_origin(
    original: Records | None, *, whole: bool
) -> None:
    """It is the record only if its bytes are; otherwise it is gone."""
    letter = refused(LARGE, largest=2_000)
    assert letter.kept is not None
    assert letter.kept.whole_sha256 == hashlib.sha256(LARGE).hexdigest()
    found = choice(original).of(letter)
    if whole:
        assert isinstance(found, tuple)
        assert found[1].value == LARGE
        assert found[1].headers[0] == ("a", b"b")
    else:
        assert found == GONE


def test_what_its_topic_would_refuse_is_left_alone() -> None:
    """The origin takes some bytes, which a record at the limit does not have."""
    assert choice(largest=300).of(refused()) == TOO_LARGE
