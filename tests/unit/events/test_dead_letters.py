"""Dead letters keep what they can: everything, or a cut with length and hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from consumer.events.dead_letters import to_record
from consumer.frames import DeadLetter, Records

LETTER = DeadLetter(0, "undecodable", "The record does not fit.", 7)


def one(value: bytes | None, *, key: bytes = b"v1", header: bytes = b"x") -> Records:
    """A batch of one record."""
    return Records(
        np.array([3], np.int32),
        np.array([42], np.int64),
        np.array([1_700_000_000_000], np.int64),
        [key],
        [value],
        lambda _row: [("trace", header)],
    )


def test_original_bytes_headers_and_origin_are_kept() -> None:
    """Key, value and headers are the record's own; ours name where it lay and why."""
    key, value, headers = to_record(LETTER, one(b"\0abc"), "purchases", "id", 10_000)
    assert (key, value) == (b"v1", b"\0abc")
    assert headers[0] == ("trace", b"x")
    ours = dict(headers[1:])
    assert ours["pos-consumer-reason"] == b"undecodable"
    assert ours["pos-consumer-partition"] == b"3"
    assert ours["pos-consumer-offset"] == b"42"
    assert ours["pos-consumer-schema-id"] == b"7"
    assert "pos-consumer-whole-bytes" not in ours


@pytest.mark.parametrize("size", [1_000, 5_000, 1_000_000])
@pytest.mark.parametrize("header", [b"x", b"h" * 3_000])
def test_what_is_too_large_is_cut_and_says_so(size: int, header: bytes) -> None:
    """A cut letter fits its topic and carries the length and hash of the whole."""
    whole = bytes(range(256)) * (size // 256 + 1)
    largest = 1_200
    key, value, headers = to_record(
        LETTER, one(whole, header=header), "purchases", "id", largest
    )
    ours = dict(headers)
    total = len(key or b"") + len(value or b"")
    total += sum(len(name) + len(text or "") for name, text in headers)
    assert total < largest
    assert whole.startswith(value or b"")
    assert ours["pos-consumer-whole-bytes"] == str(len(whole)).encode()
    digest = hashlib.sha256(whole).hexdigest().encode()
    assert ours["pos-consumer-whole-sha256"] == digest
    assert ours["pos-consumer-offset"] == b"42"
