"""What a fetch says about a row that was sent."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target.batch_file import encode_rows
from consumer.target.outcome import Failure, Reply
from consumer.target.sample import Found, Sample, judge, profile_path, values_of

SAMPLE = Sample("v", 0, 7, {"orders": "3", "größe": "x,y"})


def profile(**values: object) -> bytes:
    """Write a profile as Target does."""
    held = {
        name: {"value": value, "modifiedAt": "now"} for name, value in values.items()
    }
    return json.dumps({"client": "acme", "profileAttributes": held}).encode()


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Reply(200, {}, profile(orders="3", größe="x,y")), Found.PRESENT),
        (Reply(200, {}, profile(orders="3", größe="x,y", other="1")), Found.PRESENT),
        (Reply(200, {}, profile(orders="2", größe="x,y")), Found.MISSING),
        (Reply(200, {}, profile(orders="3")), Found.MISSING),
        (Reply(404, {}, b'{"status":404,"message":"No profile"}'), Found.MISSING),
        (Reply(404, {}, b"<html>"), Found.UNKNOWN),
        (Reply(404, {}, b"{}"), Found.UNKNOWN),
        (Reply(200, {}, b"[]"), Found.UNKNOWN),
        (Reply(200, {}, b'{"profileAttributes": []}'), Found.UNKNOWN),
        (Reply(200, {}, b'{"profileAttributes": {"orders": "3"}}'), Found.UNKNOWN),
        (Reply(200, {}, b"\xff"), Found.UNKNOWN),
        (Reply(503), Found.THROTTLED),
        (Reply(401), Found.UNKNOWN),
        (Reply(failure=Failure.NO_ANSWER), Found.UNKNOWN),
    ],
)
def test_only_target_s_own_words_make_a_row_lost(reply: Reply, found: Found) -> None:
    """An outage, a wrong address or a page for people says nothing about a row."""
    assert judge(SAMPLE, reply) is found


@given(st.lists(st.none() | st.text(max_size=9), min_size=2, max_size=2))
def test_values_are_read_from_the_row_as_it_was_sent(cells: list[str | None]) -> None:
    """Empty ones set nothing."""
    batch = pa.record_batch(
        {
            "visitor": ["v"],
            "version": pa.array([1], pa.int64()),
            "generation": pa.array([1], pa.int32()),
            "a": pa.array([cells[0]], pa.string()),
            "b": pa.array([cells[1]], pa.string()),
        }
    )
    expected = {name: cell for name, cell in zip("ab", cells, strict=True) if cell}
    for line in encode_rows(batch).rows.to_pylist():
        assert values_of(line, ("a", "b")) == expected


def test_the_path_holds_any_visitor() -> None:
    """Nothing in an id can lead elsewhere."""
    assert (
        profile_path("a/../ü?x", "acme")
        == "/rest/v1/profiles/thirdPartyId/a%2F..%2F%C3%BC%3Fx?client=acme"
    )
