"""The parts of the Target sandbox that need no server."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.sandbox.target import Endpoint, Fault, FaultKind, Journal, TargetOptions
from consumer.sandbox.target.batches import Batches, Status
from consumer.sandbox.target.batchfile import BatchFile, BatchRefused, cells_of
from consumer.sandbox.target.batchfile import read_batch as read_with
from consumer.sandbox.target.faults import ALWAYS, FaultOrders
from consumer.sandbox.target.journal import Call, Meter
from consumer.sandbox.target.profiles import Profiles

OPTIONS = TargetOptions(max_rows=5, max_bytes=20_000, max_profile_bytes=2_000)


def read_batch(body: bytes) -> BatchFile:
    """Read under small limits."""
    return read_with(body, OPTIONS)


TEXT = st.text(max_size=20)
IDS = st.text(min_size=1, max_size=20).filter(lambda s: not set(s) & set("+/"))


@given(rows=st.lists(st.tuples(IDS, TEXT, TEXT), min_size=1, max_size=5))
def test_what_is_percent_encoded_comes_back(rows: list[tuple[str, str, str]]) -> None:
    """Any text in ids and values survives the way through a batch file."""
    lines = [",".join(quote(cell, safe="") for cell in row) for row in rows]
    body = "\n".join(["batch=thirdPartyId,a,b%20c", *lines]).encode()
    file = read_batch(body)
    assert file.names == ("a", "b c")
    kept = [(v, *cells_of(cells)) for v, cells in file.rows]
    assert kept == [row for row in rows if row[1] or row[2]]
    assert file.skipped == len(rows) - len(kept)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"thirdPartyId,a\nx,1", "line 1: must begin with batch="),
        (b"batch=ecid,a\nx,1", "line 1: the first column"),
        (b"batch=thirdPartyId\nx", "line 1: attribute names"),
        (b"batch=thirdPartyId,a,\nx,1", "line 1: attribute names"),
        (b"batch=thirdPartyId,a,a\nx,1", "line 1: an attribute occurs twice"),
        (b"batch=thirdPartyId,profile.a\nx,1", "line 1: names carry no profile."),
        (b"batch=thirdPartyId,a b\nx,1", "line 1: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,1\ny,2,3", "line 3: more cells"),
        (b"batch=thirdPartyId,a\nx,1\n\ny,2", "line 3: empty line"),
        (b"batch=thirdPartyId,a\nx,1\ny,a b", "line 3: not percent-encoded"),
        (b"batch=thirdPartyId,a\r\nx,1\r\n", "line 1: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,1\ny,a+b", "line 3: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,100%", "line 2: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,%4", "line 2: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,%C3", "line 2: not percent-encoded"),
        (b"batch=thirdPartyId,a\nx,%C3,\n", "line 2: "),
        ("batch=thirdPartyId,a\nx,ä".encode(), "line 2: not percent-encoded"),
        (b"batch=thirdPartyId,a" + b"\nx,1" * 6, "6 rows"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(body: bytes, detail: str) -> None:
    """Nothing of a malformed file is taken, and the answer says where it is wrong."""
    with pytest.raises(BatchRefused) as refused:
        read_batch(body)
    assert detail in refused.value.answer


@pytest.mark.parametrize("body", [b"", b"batch=thirdPartyId,a", b"batch=pcId,a\n"])
def test_a_file_without_rows_is_empty(body: bytes) -> None:
    """The answer is the one seen in the field."""
    with pytest.raises(BatchRefused) as refused:
        read_batch(body)
    assert refused.value.answer == "Batch is empty"


def test_a_file_at_the_limit_is_too_large() -> None:
    """A file must be smaller than the limit, not as large."""
    body = b"batch=thirdPartyId,a\n" + b"\n".join(b"x,%d" % n for n in range(5))
    read_with(body, TargetOptions(max_bytes=len(body) + 1))
    with pytest.raises(BatchRefused) as refused:
        read_with(body, TargetOptions(max_bytes=len(body)))
    assert refused.value.http == 413


@pytest.mark.parametrize(
    ("id_cell", "problem"),
    [
        (b"a+b", "+ or /"),
        (b"a%2Bb", "+ or /"),
        (b"a/b", "+ or /"),
        (b"a%2Fb", "+ or /"),
        (b"", "empty id"),
        (b"x" * 257, "too long"),
    ],
)
def test_a_row_with_an_impossible_id_fails_alone(id_cell: bytes, problem: str) -> None:
    """The other rows are taken."""
    file = read_batch(b"batch=thirdPartyId,a\n" + id_cell + b",1\nfine,2\n")
    assert file.rows == [("fine", b"2")]
    assert len(file.failed) == 1
    assert problem in file.violations[0]
    assert file.batch_size == 2


def test_long_ids_names_and_values_are_warned_of() -> None:
    """In-page limits are warnings, not refusals."""
    name, long_id, value = b"n" * 129, b"i" * 129, b"v" * 257
    file = read_batch(b"batch=thirdPartyId," + name + b"\n" + long_id + b"," + value)
    assert len(file.rows) == 1
    assert len(file.warnings) == 3


def test_a_profile_over_its_limit_fails_alone() -> None:
    """Names and values of a row together are bounded, counted decoded."""
    fits, too_large = b"%41" * 1_999, b"x" * 2_000
    file = read_batch(b"batch=thirdPartyId,a\nx," + fits + b"\ny," + too_large)
    assert [visitor for visitor, _ in file.rows] == ["x"]
    assert file.failed == ("y",)


def upload(profiles: Profiles, names: str, cells: str, *, v2: bool = True) -> None:
    """Upload one row for anna."""
    columns = tuple(names.split(","))
    rows = [("anna", cells.encode())]
    profiles.upload("thirdPartyId", columns, rows, 1.0, v2=v2)


def held(profiles: Profiles) -> dict[str, str]:
    """Return what is held of anna."""
    found = profiles.get("thirdPartyId", "anna")
    return {} if found is None else found.values()


@pytest.mark.parametrize("looked_at", [False, True])
def test_the_next_v2_upload_overrides(*, looked_at: bool) -> None:
    """Attributes that its header does not name are gone, however it is stored."""
    profiles = Profiles()
    upload(profiles, "a,b", "1,2")
    if looked_at:
        held(profiles)
    upload(profiles, "b,c", "3,4")
    assert held(profiles) == {"b": "3", "c": "4"}


def test_empty_and_missing_cells_do_not_clear() -> None:
    """A named attribute without a value keeps the one it has."""
    profiles = Profiles()
    upload(profiles, "a,b,c", "1,2,3")
    upload(profiles, "a,b,c", ",9")
    assert held(profiles) == {"a": "1", "b": "9", "c": "3"}


def test_after_a_page_call_the_next_upload_merges_and_the_one_after_overrides() -> None:
    """Only consecutive uploads override."""
    profiles = Profiles()
    upload(profiles, "a", "1")
    profiles.page_call("thirdPartyId", "anna", 2.0)
    upload(profiles, "b", "2")
    assert held(profiles) == {"a": "1", "b": "2"}
    upload(profiles, "c", "3")
    assert held(profiles) == {"c": "3"}


def test_v1_merges_into_existing_profiles_only() -> None:
    """v1 creates nothing and removes nothing."""
    profiles = Profiles()
    upload(profiles, "a", "1", v2=False)
    assert profiles.get("thirdPartyId", "anna") is None
    upload(profiles, "a", "1")
    upload(profiles, "b", "2", v2=False)
    assert held(profiles) == {"a": "1", "b": "2"}


def test_batches_are_applied_when_due_not_when_sent() -> None:
    """A slow batch lands after a quick one that was sent later."""
    profiles = Profiles()
    batches = Batches("acme", profiles, 86_400)
    slow = batches.submit(read_batch(b"batch=thirdPartyId,a\nanna,1"), 0.0, 10.0)
    quick = batches.submit(read_batch(b"batch=thirdPartyId,a\nanna,2"), 1.0, 2.0)
    batches.settle(5.0)
    assert (slow.status, quick.status) == (Status.INCOMPLETE, Status.COMPLETE)
    assert held(profiles) == {"a": "2"}
    batches.settle(10.0)
    assert held(profiles) == {"a": "1"}


def test_a_stuck_batch_is_applied_when_let_through() -> None:
    """It changes nothing before, and only once."""
    profiles = Profiles()
    batches = Batches("acme", profiles, 86_400)
    file = read_batch(b"batch=thirdPartyId,a\nanna,1")
    batch = batches.submit(file, 0.0, 1.0, gets_stuck=True)
    assert not batches.unstick(batch.id, 0.5)
    batches.settle(9.0)
    assert (batch.status, held(profiles)) == (Status.STUCK, {})
    assert batches.unstick(batch.id, 10.0)
    assert (batch.status, held(profiles)) == (Status.COMPLETE, {"a": "1"})
    assert not batches.unstick(batch.id, 11.0)


def test_the_meter_counts_in_a_sliding_window() -> None:
    """There is room again exactly when the first call is a period old."""
    meter = Meter(2, period=60.0)
    assert [meter.allow(at) for at in (0.0, 30.0, 59.9)] == [True, True, False]
    assert [meter.allow(at) for at in (60.0, 89.9, 90.0)] == [True, False, True]


def test_the_busiest_minute_is_found_anywhere() -> None:
    """Any 60 seconds count, not clock minutes; unmetered calls do not."""
    journal = Journal(10)
    for at, metered in ((0.0, True), (50.0, True), (61.0, True), (62.0, False)):
        journal.calls.append(
            Call(at, Endpoint.SUBMIT, "POST", "/", 200, metered, False, 0)  # noqa: FBT003
        )
    assert journal.busiest_minute() == 2
    assert journal.calls_within(50.0, 61.0) == 1


def test_the_journal_drops_the_oldest_rows() -> None:
    """Its memory is bounded in rows; the latest batch always stays."""
    journal = Journal(2)
    batches = Batches("acme", Profiles(), 86_400)
    for visitors in ("a b", "c", "d e f"):
        lines = "".join(f"{visitor},1\n" for visitor in visitors.split())
        file = read_batch(f"batch=thirdPartyId,a\n{lines}".encode())
        journal.uploaded(batches.submit(file, 0.0, 0.0))
    assert [row.visitor for row in journal.rows()] == ["d", "e", "f"]
    assert [row.attributes for row in journal.rows("e")] == [{"a": "1"}]


def test_orders_are_served_in_turn_and_by_endpoint() -> None:
    """Each order concerns as many calls of its endpoint as it says."""
    orders = FaultOrders()
    orders.order(Fault(FaultKind.HTTP_503, calls=2))
    orders.order(Fault(FaultKind.HTTP_500))
    orders.order(Fault(FaultKind.LOST, on=Endpoint.STATUS))
    taken = [orders.take(Endpoint.SUBMIT, 0.0) for _ in range(4)]
    kinds = [fault and fault.kind.value for fault in taken]
    assert kinds == ["http_503", "http_503", "http_500", None]
    assert [fault.kind for fault, _ in orders.open()] == [FaultKind.LOST]
    orders.cancel()
    assert orders.take(Endpoint.STATUS, 0.0) is None


def test_orders_by_chance_time_and_visitor_concern_those_calls_only() -> None:
    """A tenth of the calls, those of an hour, or the files that hold a visitor."""
    orders = FaultOrders()
    orders.order(Fault(FaultKind.HTTP_500, calls=ALWAYS, probability=0.1))
    hits = sum(orders.take(Endpoint.SUBMIT, 0.0) is not None for _ in range(10_000))
    assert 900 < hits < 1_100
    orders.cancel()
    orders.order(Fault(FaultKind.HTTP_503, calls=ALWAYS, since=10.0, until=20.0))
    found = [orders.take(Endpoint.SUBMIT, at) is not None for at in (9.9, 10.0, 20.0)]
    assert found == [False, True, False]
    orders.cancel()
    orders.order(Fault(FaultKind.UNSUCCESSFUL, calls=ALWAYS, visitor="anna"))
    assert orders.take(Endpoint.SUBMIT, 0.0) is None
    assert orders.take(Endpoint.SUBMIT, 0.0, {"berta"}) is None
    assert orders.take(Endpoint.SUBMIT, 0.0, {"anna", "berta"}) is not None
    with pytest.raises(ValueError, match="probability"):
        Fault(FaultKind.LOST, probability=2.0)


def test_dropped_rows_of_a_waiting_batch_are_still_applied() -> None:
    """The journal forgets them, the batch does not."""
    journal, profiles = Journal(1), Profiles()
    batches = Batches("acme", profiles, 86_400)
    for value in (1, 2):
        file = read_batch(f"batch=thirdPartyId,a\nv{value},{value}\n".encode())
        journal.uploaded(batches.submit(file, 0.0, 5.0))
    batches.settle(5.0)
    assert [visitor for visitor, _ in profiles.all("thirdPartyId")] == ["v1", "v2"]
