"""What people and tests may do to a running sandbox over HTTP, under `/sandbox/`.

| call | does |
|---|---|
| `GET /sandbox/journal` | calls, busiest minute, violations, batches, open faults |
| `GET /sandbox/calls?seconds=…` | calls in each window so long (60) that had any |
| `GET /sandbox/rows?visitor=…` | uploaded rows in order of arrival, a JSON a line |
| `GET /sandbox/profiles` | every profile, a JSON `{"id", "attributes"}` a line |
| `DELETE /sandbox/profiles?visitor=…` | forgets a profile, or all: they have expired |
| `POST /sandbox/faults` | orders a fault: the members of `Fault` as JSON |
| `DELETE /sandbox/faults` | drops the open orders |
| `POST /sandbox/page-call?visitor=…` | the visitor calls a page |
| `POST /sandbox/unstick?batchId=…` | lets a stuck batch through |
| `POST /sandbox/spend?calls=…` | other users of the account make calls |
| `POST /sandbox/token?token=…` | replaces the token; without one none is required |
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from consumer.sandbox.target.account import Account
from consumer.sandbox.target.faults import fault_of
from consumer.sandbox.target.journal import MINUTE

_LINES_AT_ONCE: Final = 1_000


class Control:
    """Handlers of `/sandbox/…`; none of them is noted or metered."""

    def __init__(self, account: Account) -> None:
        """Control one account."""
        self._account = account

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the submit host."""
        return [
            web.get("/sandbox/journal", self._journal),
            web.get("/sandbox/calls", self._calls),
            web.get("/sandbox/rows", self._rows),
            web.get("/sandbox/profiles", self._profiles),
            web.delete("/sandbox/profiles", self._forget),
            web.post("/sandbox/faults", self._order),
            web.delete("/sandbox/faults", self._cancel),
            web.post("/sandbox/page-call", self._page_call),
            web.post("/sandbox/unstick", self._unstick),
            web.post("/sandbox/spend", self._spend),
            web.post("/sandbox/token", self._token),
        ]

    async def _journal(self, _: web.Request) -> web.Response:
        return web.json_response(self._account.summary())

    async def _calls(self, request: web.Request) -> web.Response:
        try:
            seconds = float(request.query.get("seconds", MINUTE))
            windows = self._account.journal.windows(seconds)
        except ValueError as error:
            raise web.HTTPBadRequest(text="seconds must be above 0.") from error
        return web.json_response(
            [
                {"from": at, **{str(endpoint): n for endpoint, n in calls.items()}}
                for at, calls in windows.items()
            ]
        )

    async def _rows(self, request: web.Request) -> web.StreamResponse:
        rows = self._account.journal.rows(request.query.get("visitor"))
        return await _lines(request, (dataclasses.asdict(row) for row in rows))

    async def _profiles(self, request: web.Request) -> web.StreamResponse:
        # Listed first: batches may be applied while the answer is on its way.
        profiles = list(self._account.profiles())
        return await _lines(
            request, ({"id": id_, "attributes": p.values()} for id_, p in profiles)
        )

    async def _forget(self, request: web.Request) -> web.Response:
        self._account.forget(request.query.get("visitor"))
        return web.Response(status=204)

    async def _order(self, request: web.Request) -> web.Response:
        try:
            fault = fault_of(await request.json())
        except (ValueError, KeyError, TypeError) as error:
            raise web.HTTPBadRequest(text=f"Not a fault: {error}") from error
        self._account.faults.order(fault)
        return web.Response(status=204)

    async def _cancel(self, _: web.Request) -> web.Response:
        self._account.faults.cancel()
        return web.Response(status=204)

    async def _page_call(self, request: web.Request) -> web.Response:
        self._account.page_call(_named(request, "visitor"))
        return web.Response(status=204)

    async def _unstick(self, request: web.Request) -> web.Response:
        if not self._account.unstick(_named(request, "batchId")):
            raise web.HTTPNotFound(text="No such stuck batch.")
        return web.Response(status=204)

    async def _spend(self, request: web.Request) -> web.Response:
        calls = _named(request, "calls")
        if not calls.isdecimal():
            raise web.HTTPBadRequest(text="calls must be a number.")
        self._account.spend(int(calls))
        return web.Response(status=204)

    async def _token(self, request: web.Request) -> web.Response:
        self._account.new_token(request.query.get("token"))
        return web.Response(status=204)


def _named(request: web.Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise web.HTTPBadRequest(text=f"{name} is missing.")
    return value


async def _lines(
    request: web.Request, values: Iterable[dict[str, object]]
) -> web.StreamResponse:
    """Stream one JSON document a line."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    waiting: list[str] = []
    for value in values:
        waiting.append(json.dumps(value, ensure_ascii=False))
        if len(waiting) == _LINES_AT_ONCE:
            await response.write(("\n".join(waiting) + "\n").encode())
            waiting.clear()
    await response.write("".join(f"{line}\n" for line in waiting).encode())
    await response.write_eof()
    return response
