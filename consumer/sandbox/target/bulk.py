"""The bulk endpoints: submission of batch files (v1 and v2), and batchStatus."""

import asyncio
from typing import Final

from aiohttp import web

from consumer.sandbox.target import answers
from consumer.sandbox.target.account import Account
from consumer.sandbox.target.batchfile import BatchFile, BatchRefused, read_batch
from consumer.sandbox.target.broken import BUSY, UNREAD, broken
from consumer.sandbox.target.calls import dropped, noted
from consumer.sandbox.target.faults import Endpoint, Fault, FaultKind

_FORM: Final = "application/x-www-form-urlencoded"
_INLINE: Final = 1_000_000  # bytes; larger files are read beside the event loop
_FOREIGN: Final = "http://status.example"


class Bulk:
    """Handlers of `/m2/<client>/…/batchUpdate` and `/m2/<client>/profile/batchStatus`.

    `status_base` is where status URLs point to; it is known once the port is.
    """

    def __init__(self, account: Account) -> None:
        """Serve one account."""
        self._account = account
        self.status_base = ""

    def submit_routes(self) -> list[web.RouteDef]:
        """Return the routes of the submit host."""
        return [
            web.post("/m2/{client}/v2/profile/batchUpdate", self._submit_v2),
            web.post("/m2/{client}/profile/batchUpdate", self._submit_v1),
        ]

    def status_routes(self) -> list[web.RouteDef]:
        """Return the routes of the status host."""
        return [web.get("/m2/{client}/profile/batchStatus", self._status)]

    async def _submit_v1(self, request: web.Request) -> web.StreamResponse:
        return await self._submit(request, v2=False)

    async def _submit_v2(self, request: web.Request) -> web.StreamResponse:
        return await self._submit(request, v2=True)

    async def _submit(self, request: web.Request, *, v2: bool) -> web.StreamResponse:
        account = self._account
        noted(request, Endpoint.SUBMIT, metered=True)
        allowed = account.allow_call()
        fault = account.fault(Endpoint.SUBMIT) if allowed else None
        if fault and fault.kind is FaultKind.HANG_UP_413:
            return await UNREAD[fault.kind](request, fault, account.clock)
        body = await request.read()
        noted(request, Endpoint.SUBMIT, metered=True, size=len(body))
        if not allowed:
            return self._over_limit(Endpoint.SUBMIT)
        if fault and fault.kind in UNREAD:
            return await UNREAD[fault.kind](request, fault, account.clock)
        answer = broken(fault)
        return answer or await self._judged(request, body, fault, v2=v2)

    async def _judged(
        self, request: web.Request, body: bytes, fault: Fault | None, *, v2: bool
    ) -> web.StreamResponse:
        """Answer a submission that has come through, by what is in it."""
        account = self._account
        refusal = account.refusal(request.headers.get("Authorization"))
        if refusal:
            return _xml(answers.refused("Unauthorized"), refusal)
        self._check_headers(request)
        try:
            file = await self._read(request.match_info["client"], body, v2=v2)
        except BatchRefused as refused:
            account.violated(Endpoint.SUBMIT, refused.answer)
            return _xml(answers.refused(refused.answer), refused.http)
        fault = fault or account.fault(Endpoint.SUBMIT, file)
        if fault and fault.kind is FaultKind.UNSUCCESSFUL:
            return _xml(answers.refused(fault.message))
        answer = broken(fault)
        if answer is not None:
            return answer
        batch = account.take(file, v2=v2, fault=fault)
        if fault and fault.kind is FaultKind.NO_ANSWER:
            return dropped(request)
        if fault and fault.kind is FaultKind.LATE_ANSWER:
            await account.clock.sleep(fault.seconds)
        foreign = fault is not None and fault.kind is FaultKind.FOREIGN_STATUS
        base = _FOREIGN if foreign else self.status_base
        url = answers.status_url(base, account.options.client, batch)
        return _xml(answers.accepted(url))

    async def _read(self, client: str, body: bytes, *, v2: bool) -> BatchFile:
        options = self._account.options
        if client != options.client:
            raise BatchRefused("Unexpected Error", "unknown client")
        if len(body) < _INLINE:
            file = read_batch(body, options)
        else:
            file = await asyncio.to_thread(read_batch, body, options)
        if v2 and file.id_kind == "pcId" and options.experience_cloud_id:
            raise BatchRefused("Unexpected Error", "pcId with v2 on a site with ECID")
        return file

    def _check_headers(self, request: web.Request) -> None:
        """Note headers that are known not to work, though the sandbox copes."""
        if request.content_type != _FORM:
            self._account.violated(
                Endpoint.SUBMIT, f"Content-Type is {request.content_type}, not {_FORM}"
            )
        if "Content-Encoding" in request.headers:
            self._account.violated(Endpoint.SUBMIT, "the body must be raw bytes")

    async def _status(self, request: web.Request) -> web.StreamResponse:
        account = self._account
        metered = account.options.statuses_count
        noted(request, Endpoint.STATUS, metered=metered)
        if metered and not account.allow_call():
            return self._over_limit(Endpoint.STATUS)
        fault = account.fault(Endpoint.STATUS)
        if fault and fault.kind in UNREAD:
            return await UNREAD[fault.kind](request, fault, account.clock)
        answer = broken(fault)
        if answer is not None:
            return answer
        if fault and fault.kind is FaultKind.LATE_ANSWER:
            await account.clock.sleep(fault.seconds)
        if fault and fault.kind is FaultKind.NO_ANSWER:
            return dropped(request)
        batch = account.batch(request.query.get("batchId", ""))
        if batch is None:
            return _xml(answers.refused("Batch not found"), 404)
        return _xml(
            answers.batch_status(
                batch,
                details=request.query.get("showDetails") == "true",
                listed=account.options.failed_rows_listed,
            )
        )

    def _over_limit(self, endpoint: Endpoint) -> web.Response:
        self._account.violated(endpoint, "more calls a minute than allowed")
        return web.Response(status=503, text=BUSY)


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/xml")
