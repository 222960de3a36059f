"""Dead letters are read back as they were written, and decoded as far as they go."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from consumer.events.codecs import Codec
from consumer.events.dead_letters import to_record
from consumer.events.letters import NOT_OURS, from_headers, iso, letters
from consumer.events.salvage import salvage
from consumer.frames import DeadLetter, Records

ROOT = Path(__file__).parents[3]
LETTER = DeadLetter(0, "undecodable", "The record ends early: ü.", 7)


def original(value: bytes, headers: list[tuple[str, bytes | None]]) -> Records:
    """A batch of one record of purchases."""
    return Records(
        np.array([3], np.int32),
        np.array([42], np.int64),
        np.array([1_700_000_000_000], np.int64),
        [b"v1"],
        [value],
        lambda _row: headers,
    )


def kept_as(
    value: bytes,
    headers: list[tuple[str, bytes | None]],
    letter: DeadLetter = LETTER,
    largest: int = 10_000,
) -> Records:
    """The record of a dead letter, as it is read from its topic."""
    key, whole, written = to_record(
        letter, original(value, headers), "purchases", "id", largest
    )
    found = [(n, t.encode() if isinstance(t, str) else t) for n, t in written]
    return Records(
        np.array([3], np.int32),
        np.array([5], np.int64),
        np.array([1_800_000_000_000], np.int64),
        [key],
        [whole],
        lambda _row: found,
    )


def test_what_was_written_is_read_back() -> None:
    """Origin, reason and sentence return, and the record's own headers unchanged."""
    own: list[tuple[str, bytes | None]] = [("trace", b"\xff"), ("none", None)]
    (letter,) = letters(kept_as(b"\0abc", own))
    kept = letter.kept
    assert kept is not None
    assert (letter.partition, letter.offset, letter.key) == (3, 5, b"v1")
    assert (kept.topic, kept.topic_id) == ("purchases", "id")
    assert (kept.partition, kept.offset) == (3, 42)
    assert (kept.reason, kept.sentence) == (LETTER.reason, LETTER.sentence)
    assert (kept.schema_id, kept.timestamp) == (7, 1_700_000_000_000)
    assert kept.whole_bytes is None
    assert letter.headers == own


def test_a_dead_letter_of_a_dead_letter_names_its_own_origin() -> None:
    """Headers that a record had before stay its own, also where they look like ours."""
    (first,) = letters(kept_as(b"x", [("trace", b"1")]))
    again = DeadLetter(0, "trailing_bytes", "2 bytes follow the record.", None)
    inner = kept_as(b"x", [("trace", b"1")]).headers(0)
    (second,) = letters(kept_as(b"x", inner, again))
    assert second.reason == "trailing_bytes"
    assert second.kept is not None
    assert second.kept.schema_id is None
    assert from_headers(second.headers) == first.kept


def test_a_cut_letter_tells_of_the_whole() -> None:
    """Length and hash of the whole are read back."""
    (letter,) = letters(kept_as(b"a" * 5_000, [], largest=1_000))
    assert letter.kept is not None
    assert letter.kept.whole_bytes == 5_000
    assert letter.as_json()["whole"]["bytes"] == 5_000


@pytest.mark.parametrize(
    "headers",
    [[], [("pos-consumer-reason", b"empty")], [("pos-consumer-offset", b"1")]],
)
def test_what_is_not_ours_is_listed_all_the_same(
    headers: list[tuple[str, bytes | None]],
) -> None:
    """A record that somebody else wrote to the topic has no reason and no origin."""
    (letter,) = letters(original(b"x", headers))
    assert letter.reason == NOT_OURS
    assert letter.as_json()["reason"] is None
    assert letter.headers == headers


def test_the_export_has_every_byte() -> None:
    """Key, value and headers come back from base64, whatever bytes they are."""
    own: list[tuple[str, bytes | None]] = [("trace", b"\xff\0"), ("none", None)]
    (letter,) = letters(kept_as(b"\0\xff\x80", own))
    read = json.loads(json.dumps(letter.as_json()))
    assert base64.b64decode(read["value"]) == b"\0\xff\x80"
    assert base64.b64decode(read["key"]) == b"v1"
    assert base64.b64decode(read["headers"][0][1]) == b"\xff\0"
    assert read["headers"][1] == ["none", None]
    assert read["refused_at"] == "2027-01-15T08:00:00.000+00:00"


def test_a_timestamp_that_is_no_date_is_its_number() -> None:
    """A producer's nonsense does not end a listing."""
    assert iso(2**63 - 1) == str(2**63 - 1)


def test_a_record_is_decoded_up_to_where_it_ends() -> None:
    """Wherever a record is cut, fields and rest together are the record."""
    codec = Codec((ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8"))
    record = codec.sample()[4]
    names = [field["name"] for field in codec.avro["fields"]]
    whole = salvage(codec, record)
    assert (list(whole.fields), whole.stopped_at, whole.left) == (names, None, b"")
    assert salvage(codec, record + b"xx").left == b"xx"
    for size in range(len(record)):
        found = salvage(codec, record[:size])
        assert list(found.fields) == names[: len(found.fields)]
        assert found.stopped_at == names[len(found.fields)]
        assert found.why
        assert record[:size].endswith(found.left)
