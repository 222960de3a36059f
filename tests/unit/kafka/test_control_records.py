"""Requests and their progress, as the control topic holds them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.control_records import (
    ControlView,
    Generation,
    Progress,
    Record,
    Request,
    decode,
    encode,
)

BODY = st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()))
TIMES = st.floats(0, 2e9)
IDS = st.text("0123456789abcdef-", min_size=1)
RECORDS = (
    st.builds(
        Generation,
        number=st.integers(1, 99),
        schema_id=st.integers(0, 2**63),
        schema=st.text(),
        definitions=st.dictionaries(st.text(), st.text()),
        partitions=st.integers(0, 200),
    )
    | st.builds(
        Request,
        id=IDS,
        kind=st.text(),
        at=TIMES,
        partitions=st.integers(1, 200),
        body=BODY,
    )
    | st.builds(
        Progress,
        request=IDS,
        partition=st.integers(0, 200),
        state=st.text(),
        at=TIMES,
        done=st.integers(0),
        total=st.integers(0),
        body=BODY,
    )
)


def view(*records: Record) -> ControlView:
    """Show records as if they were the whole topic."""
    found = [(one.key.encode(), encode(one)) for one in records]
    return ControlView().with_records(found, len(found))


REQUEST = Request("1-a", "resync", 1.0, 2, {"all": True})


@given(RECORDS)
def test_records_are_read_back_as_they_were_written(record: Record) -> None:
    """Key and value together are the record, without a field twice."""
    assert decode(record.key, encode(record)) == record


def test_the_documented_form_is_what_is_written() -> None:
    """Other tools may write requests: keys and names are part of the contract."""
    assert REQUEST.key == "request/1-a"
    assert json.loads(encode(REQUEST)) == {
        "kind": "resync",
        "at": 1.0,
        "partitions": 2,
        "body": {"all": True},
    }
    report = REQUEST.progress(1, "running", 2.0, done=3, total=9)
    assert report.key == "progress/1-a/1"
    assert json.loads(encode(report)) == {
        "state": "running",
        "at": 2.0,
        "done": 3,
        "total": 9,
        "body": {},
    }


def test_a_later_release_may_add_fields_and_kinds() -> None:
    """Unknown fields are passed over, and so are records under unknown keys."""
    value = json.dumps({**json.loads(encode(REQUEST)), "new": 1}).encode()
    assert decode(REQUEST.key, value) == REQUEST
    assert decode("lock/7", b"anything") is None


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"nonsense", b"7"])
def test_what_is_unreadable_is_told_and_spoils_nothing(value: bytes) -> None:
    """A broken record is no request, the others stand, and a sound one mends it."""
    raw = b"request/bad"
    found = view(REQUEST).with_records([(raw, value)], 9)
    assert found.requests() == [REQUEST]
    assert list(found.unreadable) == ["request/bad"]
    assert not found.with_records([(raw, None)], 10).unreadable
    assert not found.with_records([(raw, encode(REQUEST))], 10).unreadable


def test_a_partition_has_a_request_until_it_has_reported_its_end() -> None:
    """Each partition has its own; one that did not exist at the time has none."""
    running = REQUEST.progress(0, "running", 2.0)
    done = REQUEST.progress(1, "done", 3.0)
    found = view(REQUEST, running, done)
    assert found.open_requests("resync", 0) == [REQUEST]
    assert found.open_requests("resync", 1) == []
    assert found.open_requests("resync", 2) == []
    assert found.open_requests("erase", 0) == []
    assert found.progress("1-a") == {0: running, 1: done}


def test_requests_are_worked_off_in_the_order_in_which_they_were_asked() -> None:
    """Whatever compaction has made of their order in the topic."""
    later = Request("0-z", "resync", 5.0, 2)
    assert view(later, REQUEST).open_requests("resync", 0) == [REQUEST, later]


@pytest.mark.parametrize("end", ["done", "failed"])
def test_a_request_ends_with_the_last_of_its_partitions(end: str) -> None:
    """A partition that has not reported holds it open, for as long as it takes."""
    first = REQUEST.progress(0, "done", 2.0)
    second = REQUEST.progress(1, end, 3.0)
    assert not view(REQUEST).ended(REQUEST)
    assert not view(REQUEST, first).ended(REQUEST)
    assert view(REQUEST, first, second).ended(REQUEST)


def test_what_has_ended_can_be_removed_after_a_while() -> None:
    """The request goes first: without its progress it would be done once more."""
    reports = [REQUEST.progress(0, "done", 2.0), REQUEST.progress(1, "done", 30.0)]
    found = view(REQUEST, *reports)
    assert found.removable(before=30.0) == []
    assert found.removable(before=30.1) == [
        "request/1-a",
        "progress/1-a/0",
        "progress/1-a/1",
    ]
    assert view(REQUEST, reports[0]).removable(before=1e9) == []
    half_removed = found.with_records([(b"request/1-a", None)], 9)
    assert half_removed.removable(0.0) == ["progress/1-a/0", "progress/1-a/1"]


def test_a_view_never_changes() -> None:
    """A later state is another view: threads may share one, and compare by `is`."""
    before = view(REQUEST)
    after = before.with_records([(b"request/1-a", None)], 2)
    assert before.requests() == [REQUEST]
    assert after.requests() == []
    assert (before.next_offset, after.next_offset) == (1, 2)


def test_new_requests_have_ids_of_their_own() -> None:
    """Two of one second do not meet under one key."""
    ids = {Request.new("erase", 7.0, 1, {}).id for _ in range(100)}
    assert len(ids) == 100
    assert all(one.startswith("7-") for one in ids)
