"""What tests and people can order from the sandbox, and what it tells them."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from consumer.errors import AddressInUse
from consumer.sandbox.target import Endpoint, Fault, FaultKind, TargetSandbox

if TYPE_CHECKING:
    from tests.contract.conftest import Open

ANNA = b"batch=thirdPartyId,orders,store\nanna,3,S1\n"


@pytest.mark.parametrize(
    ("kind", "http"),
    [
        (FaultKind.HTTP_503, 503),
        (FaultKind.HTTP_500, 500),
        (FaultKind.UNAUTHORIZED, 401),
    ],
)
async def test_http_faults_concern_the_next_calls_only(
    opened: Open, kind: FaultKind, http: int
) -> None:
    """As many as ordered, and nothing of them is taken."""
    site = await opened()
    site.sandbox.order(Fault(kind, calls=2))
    assert [(await site.submit(ANNA)).http for _ in range(3)] == [http, http, 200]
    assert len(list(site.sandbox.journal.rows())) == 1


async def test_an_unsuccessful_answer_takes_nothing(opened: Open) -> None:
    """success=false with HTTP 200 and the message ordered."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.UNSUCCESSFUL, message="Try later"))
    answer = await site.submit(ANNA)
    assert (answer.http, answer["success"]) == (200, "false")
    assert answer["message"] == "Try later"
    assert list(site.sandbox.journal.rows()) == []


@pytest.mark.parametrize(
    ("kind", "taken"), [(FaultKind.NO_ANSWER, True), (FaultKind.LOST, False)]
)
async def test_a_broken_connection_leaves_it_open_whether_it_was_taken(
    opened: Open, kind: FaultKind, *, taken: bool
) -> None:
    """The client sees the same either way."""
    site = await opened()
    site.sandbox.order(Fault(kind))
    with pytest.raises(aiohttp.ClientConnectionError):
        await site.submit(ANNA)
    site.clock.advance(60)
    assert (site.sandbox.profile("anna") is not None) is taken
    assert [call.status for call in site.sandbox.journal.calls] == [0]


async def test_a_late_answer_comes_after_its_time(opened: Open) -> None:
    """The call waits on the sandbox's clock."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.LATE_ANSWER, seconds=30))
    call = asyncio.create_task(site.submit(ANNA))
    while not list(site.sandbox.journal.rows()):  # noqa: ASYNC110 - what others see
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not call.done()
    site.clock.advance(30)
    assert (await call).http == 200


async def test_a_stuck_batch_can_be_let_through(opened: Open) -> None:
    """It says stuck, holds its rows back, and can complete after all."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.STUCK))
    submitted = await site.submit(ANNA)
    site.clock.advance(60)
    status = await site.status(submitted)
    assert status["status"] == "stuck"
    assert site.sandbox.profile("anna") is None
    path = f"/sandbox/unstick?batchId={status['batchId']}"
    assert (await site.call("POST", path)).http == 204
    assert (await site.status(submitted))["status"] == "complete"
    assert (await site.call("POST", path)).http == 404


async def test_a_slow_batch_lands_after_a_later_one(opened: Open) -> None:
    """Adobe promises no order; the sandbox can break it."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.SLOW, seconds=600))
    await site.submit(ANNA)
    await site.applied(b"batch=thirdPartyId,orders\nanna,4\n")
    assert site.sandbox.profile("anna") == {"orders": "4"}
    site.clock.advance(600)
    assert site.sandbox.profile("anna") == {"orders": "3", "store": "S1"}


async def test_status_calls_fail_on_order_too(opened: Open) -> None:
    """Orders name their endpoint."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.HTTP_500, on=Endpoint.STATUS))
    submitted = await site.submit(ANNA)
    assert (await site.status(submitted)).http == 500
    assert (await site.status(submitted))["status"] == "incomplete"


async def test_faults_can_be_ordered_and_dropped_over_http(opened: Open) -> None:
    """A wrong order is refused with what is wrong with it."""
    site = await opened()
    order = {"kind": "http_503", "calls": 5}
    assert (await site.call("POST", "/sandbox/faults", json=order)).http == 204
    assert (await site.submit(ANNA)).http == 503
    assert (await site.call("DELETE", "/sandbox/faults")).http == 204
    assert (await site.submit(ANNA)).http == 200
    refused = await site.call("POST", "/sandbox/faults", json={"kind": "fire"})
    assert refused.http == 400
    assert "fire" in refused.body


async def test_the_journal_is_served(opened: Open) -> None:
    """Calls, the busiest minute, batches and violations in one JSON document."""
    site = await opened()
    await site.submit(ANNA)
    await site.submit(b"batch=thirdPartyId,a\nx,%\n")
    body = (await site.call("GET", "/sandbox/journal")).body
    journal = json.loads(body)
    assert journal["calls_by_endpoint"]["submit"] == 2
    assert journal["busiest_minute"] == 2
    assert [batch["rows"] for batch in journal["batches"]] == [1]
    assert [v["endpoint"] for v in journal["violations"]] == ["submit"]


async def test_every_profile_is_served_at_once(opened: Open) -> None:
    """One JSON document a line, for as many visitors as there are."""
    site = await opened()
    lines = "".join(f"v{n},{n}\n" for n in range(1, 2_501))
    await site.applied(f"batch=thirdPartyId,a\n{lines}".encode())
    body = (await site.call("GET", "/sandbox/profiles")).body
    served = [json.loads(line) for line in body.splitlines()]
    assert {one["id"]: one["attributes"] for one in served} == {
        f"v{n}": {"a": str(n)} for n in range(1, 2_501)
    }


async def test_rows_are_served_in_order_of_arrival(opened: Open) -> None:
    """Also those that a later row has replaced."""
    site = await opened()
    for orders in (b"1", b"2"):
        await site.submit(b"batch=thirdPartyId,a\nben,9\nanna," + orders + b"\n")
    body = (await site.call("GET", "/sandbox/rows?visitor=anna")).body
    served = [json.loads(line)["attributes"] for line in body.splitlines()]
    assert served == [{"a": "1"}, {"a": "2"}]


async def test_a_large_file_is_read_beside_the_event_loop(opened: Open) -> None:
    """Files above a megabyte are taken like small ones."""
    site = await opened()
    lines = "".join(f"visitor-{n},{n},{'x' * 30}\n" for n in range(1, 30_001))
    details = await site.applied(f"batch=thirdPartyId,a,b\n{lines}".encode())
    assert details["successfulUpdates"] == "30000"


async def test_an_occupied_port_is_said_so() -> None:
    """The error names the address and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressInUse, match="taken"):
            await TargetSandbox(port=taken.getsockname()[1]).__aenter__()


async def test_a_call_over_the_limit_uses_up_no_order(opened: Open) -> None:
    """The fault waits for the next call that is let in."""
    site = await opened(calls_per_minute=1)
    await site.submit(ANNA)
    site.sandbox.order(Fault(FaultKind.HTTP_500))
    assert (await site.submit(ANNA)).http == 503
    site.clock.advance(60)
    assert (await site.submit(ANNA)).http == 500
