"""What became of an upload, and how answers are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target.answer import LARGEST, BadAnswer, parse
from consumer.target.backoff import full_jitter
from consumer.target.outcome import (
    LONGEST_WAIT,
    Accepted,
    Failure,
    Rejected,
    Reply,
    Retry,
    Split,
    Throttled,
    Unauthorised,
    classify,
    retry_after,
)

NOW = 1_700_000_000.0
URL = "http://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=demo-17-130"


def answer(inner: str) -> Reply:
    """Make a reply with HTTP 200 and this in its response element."""
    return Reply(200, {}, f"<response>{inner}</response>".encode())


def failed(message: str) -> Reply:
    """Make the documented failure with HTTP 200."""
    return answer(f"<success>false</success><message>{message}</message>")


def test_a_documented_acceptance_gives_batch_id_and_url() -> None:
    """The id is taken from the status URL, which may carry more parameters."""
    url = URL + "&amp;m2Node=45"
    reply = answer(f"<success>true</success><batchStatus>{url}</batchStatus>")
    assert classify(reply, NOW) == Accepted("demo-17-130", URL + "&m2Node=45")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (failed("Batch is empty"), Rejected("Batch is empty")),
        (failed("Unexpected Error"), Retry("Unexpected Error", ambiguous=False)),
        (failed("File size exceeds 50 MB"), Split("File size exceeds 50 MB")),
        (Reply(401), Unauthorised("HTTP 401")),
        (Reply(403), Unauthorised("HTTP 403")),
        (Reply(413), Split("HTTP 413")),
        (Reply(400), Rejected("HTTP 400")),
        (Reply(429), Throttled("HTTP 429")),
        (Reply(503, {"retry-after": "7"}), Throttled("HTTP 503", 7.0)),
        (Reply(500), Retry("HTTP 500", ambiguous=True)),
        (Reply(408), Retry("HTTP 408", ambiguous=True)),
        (
            Reply(failure=Failure.CUT_OFF, detail="gone"),
            Retry("gone", ambiguous=False, answered=False, cut_off=True),
        ),
    ],
)
def test_the_table_of_outcomes(reply: Reply, outcome: object) -> None:
    """Each kind of answer has its outcome."""
    assert classify(reply, NOW) == outcome


@pytest.mark.parametrize(
    ("reply", "ambiguous"),
    [
        (Reply(failure=Failure.NOT_SENT), False),
        (Reply(failure=Failure.NO_ANSWER), True),
        (Reply(failure=Failure.BAD_ANSWER), True),
        (Reply(302, {"location": "http://elsewhere"}), False),
        (Reply(404), False),
        (Reply(200, {}, b"<html>hello</html>"), True),
        (Reply(200, {}, b""), True),
        (answer("<success>true</success>"), True),
        (answer("<message>hm</message>"), True),
    ],
)
def test_what_is_no_verdict_on_the_file_is_tried_again(
    reply: Reply, *, ambiguous: bool
) -> None:
    """Outages and wrong addresses are never the file's fault; doubt is remembered."""
    outcome = classify(reply, NOW)
    assert isinstance(outcome, Retry)
    assert outcome.ambiguous is ambiguous


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_answer_has_an_outcome(status: int, body: bytes) -> None:
    """Nothing that a server sends raises, and only success=true is an acceptance."""
    outcome = classify(Reply(status, {}, body), NOW)
    assert isinstance(outcome, Accepted) <= (b"true" in body)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("99999999", LONGEST_WAIT),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float) -> None:
    """Seconds and dates are honoured, nonsense is not, and no wait is endless."""
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE response [<!ENTITY a "b">]><response>&a;</response>',
        "<!DOCTYPE response><response/>".encode("utf-16"),
        b"<response>" + b"<a>" * 50 + b"</a>" * 50 + b"</response>",
        b"<response>" + b" " * LARGEST + b"</response>",
        b"<other/>",
        b"<response>",
        b'<?xml version="1.0" encoding="nonsense"?><response/>',
        b"\xff\xfe",
    ],
)
def test_what_is_not_the_documented_xml_is_refused(body: bytes) -> None:
    """Document types in any encoding, depth, size, other roots and garbage."""
    with pytest.raises(BadAnswer):
        parse(body)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_full_jitter_stays_below_a_doubling_ceiling(
    attempt: int, chance: float
) -> None:
    """The wait is a share of the ceiling, which never exceeds the longest wait."""
    wait = full_jitter(attempt, lambda: chance, first=1.0, longest=60.0)
    assert 0 <= wait <= min(60.0, 2.0 ** min(attempt - 1, 10))
