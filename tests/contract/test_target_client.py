"""The client against the sandbox: what is ours to keep of Adobe's contract."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from aiohttp import web

from consumer.sandbox.target import Endpoint, Fault, FaultKind
from consumer.target.answer import LARGEST
from consumer.target.batch_file import body, encode_rows, header
from consumer.target.client import TargetClient
from consumer.target.outcome import (
    Accepted,
    Failure,
    Outcome,
    Rejected,
    Reply,
    Retry,
    Split,
    Throttled,
    Unauthorised,
    classify,
)
from consumer.target.status import Progress, read_status, status_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from tests.contract.conftest import Open, Site

PROCESSED = 61.0


def file(
    rows: Sequence[tuple[str, str]], name: str = "orders"
) -> tuple[bytes, memoryview]:
    """Make a batch file of visitors and their value."""
    batch = pa.record_batch(
        {
            "visitor": pa.array([visitor for visitor, _ in rows], pa.string()),
            "version": pa.array([1] * len(rows), pa.int64()),
            "generation": pa.array([1] * len(rows), pa.int32()),
            name: pa.array([value for _, value in rows], pa.string()),
        }
    )
    return body(header("thirdPartyId", (name,)), encode_rows(batch).rows)


async def submit(
    site: Site, parts: tuple[bytes, memoryview], token: str = ""
) -> Outcome:
    """Submit a file and judge the answer."""
    async with TargetClient(site.sandbox.endpoint, "acme") as client:
        return classify(await client.submit(parts, token), site.clock.now())


async def test_a_file_is_accepted_and_applied(opened: Open) -> None:
    """What is submitted stands at Target as it was, whatever its characters."""
    site = await opened()
    value = "Käse & Brot, 50 % / 漢字 + 😀"
    outcome = await submit(site, file([("änna 漢 1", value)], "größe"))
    assert isinstance(outcome, Accepted)
    site.clock.advance(PROCESSED)
    assert site.sandbox.profile("änna 漢 1") == {"größe": value}
    assert not site.rules()


async def test_a_large_file_arrives_whole(opened: Open) -> None:
    """Megabytes are sent in pieces, with their length said beforehand."""
    site = await opened()
    rows = [(f"visitor-{number}", "x" * 200) for number in range(20_000)]
    assert isinstance(await submit(site, file(rows)), Accepted)
    site.clock.advance(PROCESSED)
    assert sum(1 for _ in site.sandbox.profiles()) == len(rows)


async def test_a_batch_is_followed_to_its_end(opened: Open) -> None:
    """The status URL is on another port of the endpoint's host, and is asked there."""
    site = await opened()
    endpoint = site.sandbox.endpoint
    outcome = await submit(site, file([("anna", "3"), ("berta", "4")]))
    assert isinstance(outcome, Accepted)
    url = status_url(
        outcome.status_url,
        outcome.batch_id,
        endpoint=endpoint,
        client="acme",
        suffixes=(),
    )
    assert url.startswith(site.sandbox.status_endpoint)
    async with TargetClient(endpoint, "acme") as client:
        early = read_status(await client.status(url, ""), outcome.batch_id, 0.0)
        site.clock.advance(PROCESSED)
        late = read_status(await client.status(url, ""), outcome.batch_id, 0.0)
    assert early.progress is Progress.INCOMPLETE
    assert (late.progress, late.size, late.updated) == (Progress.COMPLETE, 2, 2)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (FaultKind.HTTP_503, Throttled),
        (FaultKind.HTTP_500, Retry),
        (FaultKind.UNAUTHORIZED, Unauthorised),
        (FaultKind.UNSUCCESSFUL, Retry),
        (FaultKind.LOST, Retry),
        (FaultKind.HTTP_429, Throttled),
        (FaultKind.HTTP_413, Split),
        (FaultKind.REDIRECT, Retry),
        (FaultKind.FORBIDDEN, Unauthorised),
        (FaultKind.NOT_XML, Retry),
        (FaultKind.DOCTYPE, Retry),
        (FaultKind.ENDLESS, Retry),
    ],
)
async def test_faults_become_outcomes(
    opened: Open, kind: FaultKind, outcome: type
) -> None:
    """Each fault of the sandbox is judged as the table says."""
    site = await opened()
    site.sandbox.order(Fault(kind))
    assert isinstance(await submit(site, file([("anna", "3")])), outcome)


async def test_a_batch_that_was_taken_without_an_answer_is_ambiguous(
    opened: Open,
) -> None:
    """A connection that breaks after the file was taken leaves doubt."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.NO_ANSWER))
    outcome = await submit(site, file([("anna", "3")]))
    assert isinstance(outcome, Retry)
    assert outcome.ambiguous
    site.clock.advance(PROCESSED)
    assert site.sandbox.profile("anna") == {"orders": "3"}


async def test_a_server_that_hangs_up_on_a_large_file_leaves_no_doubt(
    opened: Open,
) -> None:
    """Either its 413 is read, or it is plain that it lacks the end of the file."""
    site = await opened()
    rows = [(f"visitor-{number}", "x" * 200) for number in range(60_000)]
    parts = file(rows)
    for _ in range(5):
        site.sandbox.order(Fault(FaultKind.HANG_UP_413))
        outcome = await submit(site, parts)
        if isinstance(outcome, Retry):
            assert outcome.cut_off
            assert not outcome.ambiguous
        else:
            assert isinstance(outcome, Split)


@pytest.mark.parametrize("asked", [0, 3, 16])
async def test_a_file_can_be_kept_back_before_its_end(opened: Open, asked: int) -> None:
    """Whoever loses its partitions on the way sends no last piece: no file is taken."""
    site = await opened()
    parts = file([(f"visitor-{number}", "x" * 200) for number in range(20_000)])
    left = iter([True] * asked)
    async with TargetClient(site.sandbox.endpoint, "acme") as client:
        reply = await client.submit(parts, "", lambda: next(left, False))
        outcome = classify(reply, site.clock.now())
        assert isinstance(outcome, Retry)
        assert not outcome.ambiguous
        assert not outcome.cut_off
        assert next(left, None) is None, "it was not sent as far as it might"
        assert list(site.sandbox.account.batches()) == []
        assert isinstance(classify(await client.submit(parts, ""), 0.0), Accepted)
    assert len(list(site.sandbox.account.batches())) == 1


async def test_a_small_file_without_an_answer_stays_in_doubt(opened: Open) -> None:
    """One piece may have arrived in whole before the connection went."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.LOST))
    outcome = await submit(site, file([("anna", "3")]))
    assert isinstance(outcome, Retry)
    assert outcome.ambiguous
    assert not outcome.cut_off


@pytest.mark.parametrize("form", ["7", "Tue, 14 Nov 2023 22:13:27 GMT"])
async def test_retry_after_is_honoured_in_both_forms(opened: Open, form: str) -> None:
    """Seconds, or a date; the sandbox's clock stands at 22:13:20."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.HTTP_503, retry_after=form))
    outcome = await submit(site, file([("anna", "3")]))
    assert outcome == Throttled("HTTP 503", 7.0)


async def test_a_foreign_status_url_is_never_asked(opened: Open) -> None:
    """The batch id is asked for at the endpoint instead."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.FOREIGN_STATUS))
    outcome = await submit(site, file([("anna", "3")]))
    assert isinstance(outcome, Accepted)
    assert "status.example" in outcome.status_url
    url = status_url(
        outcome.status_url,
        outcome.batch_id,
        endpoint="https://acme.tt.omtrdc.net",
        client="acme",
        suffixes=(".tt.omtrdc.net",),
    )
    assert url.startswith("https://acme.tt.omtrdc.net/m2/acme/profile/batchStatus?")


@pytest.mark.parametrize(
    ("kind", "progress"),
    [
        (FaultKind.FORGOTTEN, Progress.FORGOTTEN),
        (FaultKind.HTTP_503, Progress.THROTTLED),
        (FaultKind.HTTP_500, Progress.UNKNOWN),
        (FaultKind.DOCTYPE, Progress.UNKNOWN),
        (FaultKind.NOT_XML, Progress.UNKNOWN),
        (FaultKind.ENDLESS, Progress.UNKNOWN),
        (FaultKind.LOST, Progress.UNKNOWN),
        (FaultKind.REDIRECT, Progress.UNKNOWN),
    ],
)
async def test_faults_of_a_status_are_told_apart(
    opened: Open, kind: FaultKind, progress: Progress
) -> None:
    """Only Target's own words end a batch; all else is asked again."""
    site = await opened()
    outcome = await submit(site, file([("anna", "3")]))
    assert isinstance(outcome, Accepted)
    site.sandbox.order(Fault(kind, on=Endpoint.STATUS))
    where = urlsplit(outcome.status_url)
    url = f"{site.sandbox.status_endpoint}{where.path}?{where.query}"
    async with TargetClient(site.sandbox.endpoint, "acme") as client:
        found = read_status(await client.status(url, ""), outcome.batch_id, 0.0)
    assert found.progress is progress


async def test_an_empty_file_is_rejected_although_http_says_200(opened: Open) -> None:
    """The body is read always."""
    site = await opened()
    parts = (b"batch=thirdPartyId,orders\n", memoryview(b""))
    assert isinstance(await submit(site, parts), Rejected)


async def test_the_token_opens_an_account_that_requires_it(opened: Open) -> None:
    """Without it, or with a wrong one, the answer is unauthorised."""
    site = await opened(token="right")
    parts = file([("anna", "3")])
    assert isinstance(await submit(site, parts), Unauthorised)
    assert isinstance(await submit(site, parts, "wrong"), Unauthorised)
    assert isinstance(await submit(site, parts, "right"), Accepted)


async def test_nothing_listens(unused_tcp_port: int) -> None:
    """No connection means that nothing was sent."""
    async with TargetClient(f"http://127.0.0.1:{unused_tcp_port}", "acme") as client:
        reply = await client.submit(file([("anna", "3")]), "")
    assert reply.failure is Failure.NOT_SENT


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Serve any path with a handler; returns the address."""
    runners = []

    async def start(
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> str:
        application = web.Application(client_max_size=100_000_000)
        application.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_redirects_are_not_followed(
    serve: Callable[..., Awaitable[str]],
) -> None:
    """A redirect is an answer like any other, and no second call."""
    calls = []

    async def redirect(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    endpoint = await serve(redirect)
    async with TargetClient(endpoint, "acme") as client:
        reply = await client.status(f"{endpoint}/status?batchId=1", "secret")
    assert (reply.status, calls) == (302, ["/status"])


async def test_the_token_goes_to_the_endpoint_alone(
    serve: Callable[..., Awaitable[str]],
) -> None:
    """Another host, another port or another scheme never sees it."""
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    endpoint, other = await serve(note), await serve(note)
    async with TargetClient(endpoint, "acme") as client:
        await client.status(f"{endpoint}/status?batchId=1", "secret")
        await client.status(f"{other}/status?batchId=1", "secret")
    assert seen == ["Bearer secret", None]


async def test_environment_proxies_are_not_used(
    serve: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment does not get the visitors' data."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="direct")

    endpoint = await serve(answer)
    async with TargetClient(endpoint, "acme") as client:
        assert (await client.status(f"{endpoint}/s", "")).body == b"direct"


async def test_a_call_is_made_once_even_when_the_connection_breaks(
    serve: Callable[..., Awaitable[str]],
) -> None:
    """The HTTP library's own silent repetition is off: the budget counts each call."""
    calls = []

    async def hang_up(request: web.Request) -> web.Response:
        calls.append(request.path)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    endpoint = await serve(hang_up)
    async with TargetClient(endpoint, "acme") as client:
        reply = await client.status(f"{endpoint}/status?batchId=1", "")
    assert reply.failure is Failure.NO_ANSWER
    assert len(calls) == 1


async def test_an_endless_answer_is_cut(serve: Callable[..., Awaitable[str]]) -> None:
    """No more than the limit is read."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(100):
                await response.write(b"x" * (LARGEST // 10))
        except ConnectionError:
            pass
        return response

    endpoint = await serve(flood)
    async with TargetClient(endpoint, "acme") as client:
        reply = await client.status(f"{endpoint}/status?batchId=1", "")
    assert reply.failure is Failure.BAD_ANSWER


async def test_a_slow_drip_ends_the_call(serve: Callable[..., Awaitable[str]]) -> None:
    """A whole call has a deadline, however lively its answer looks."""

    async def drip(request: web.Request) -> web.StreamResponse:

        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return response

    endpoint = await serve(drip)
    async with TargetClient(endpoint, "acme", timeout=0.3) as client:
        reply = await client.submit(file([("anna", "3")]), "")
    assert reply == Reply(failure=Failure.NO_ANSWER, detail=reply.detail)


async def test_nothing_of_the_contract_was_broken(opened: Open) -> None:
    """The sandbox finds no fault with what the client sends."""
    site = await opened()
    async with TargetClient(site.sandbox.endpoint, "acme", api="v1") as client:
        await client.submit(file([("anna", "3")]), "")
    assert site.rules() == []
    assert site.sandbox.journal.count(Endpoint.SUBMIT) == 1
