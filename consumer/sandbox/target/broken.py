"""Answers of a call that is ordered to go wrong before anything is looked at."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from consumer.clock import Clock
from consumer.sandbox.target.calls import dropped
from consumer.sandbox.target.faults import Fault, FaultKind

BUSY: Final = "Service Unavailable"
_STATUS: Final = {
    FaultKind.HTTP_503: 503,
    FaultKind.HTTP_500: 500,
    FaultKind.HTTP_429: 429,
    FaultKind.HTTP_413: 413,
    FaultKind.UNAUTHORIZED: 401,
    FaultKind.FORBIDDEN: 403,
    FaultKind.FORGOTTEN: 404,
}
_TEXT: Final = {
    FaultKind.NOT_XML: "<!doctype html><p>We will be back soon.",
    FaultKind.DOCTYPE: (
        '<!DOCTYPE response [<!ENTITY a "true">]>'
        "<response><success>&a;</success></response>"
    ),
}
_PIECE: Final = b" " * 100_000
_MOST_PIECES: Final = 100
_MOST_DRIPS: Final = 100_000


def broken(fault: Fault | None) -> web.Response | None:
    """Return what a fault answers at once, None if it lets the call go on."""
    if fault is None:
        return None
    if fault.kind in _TEXT:
        return web.Response(text=_TEXT[fault.kind], content_type="text/xml")
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    if fault.kind is FaultKind.REDIRECT:
        headers["Location"] = "http://127.0.0.1:9/elsewhere"
        return web.Response(status=302, headers=headers)
    status = _STATUS.get(fault.kind)
    if status is None:
        return None
    return web.Response(status=status, text=BUSY, headers=headers)


Streamed = Callable[[web.Request, Fault, Clock], Awaitable[web.StreamResponse]]


async def lost(request: web.Request, _: Fault, __: Clock) -> web.StreamResponse:
    """Break the connection."""
    return dropped(request)


async def hung_up(request: web.Request, _: Fault, __: Clock) -> web.StreamResponse:
    """Say 413 on the bare connection and cut it, the file still on its way."""
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 413 Content Too Large\r\n\r\n")
    await asyncio.sleep(0)
    return dropped(request)


async def endless(request: web.Request, _: Fault, __: Clock) -> web.StreamResponse:
    """Send more than any answer has."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _piece in range(_MOST_PIECES):
        await response.write(_PIECE)
    return response


async def dripping(
    request: web.Request, fault: Fault, clock: Clock
) -> web.StreamResponse:
    """Send a byte now and then."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _drip in range(_MOST_DRIPS):
        await response.write(b" ")
        await clock.sleep(fault.seconds)
    return response


UNREAD: Final[dict[FaultKind, Streamed]] = {
    FaultKind.HANG_UP_413: hung_up,
    FaultKind.ENDLESS: endless,
    FaultKind.DRIP: dripping,
    FaultKind.LOST: lost,
}
"""Faults that answer in a way of their own; `hang_up_413` before the file is read."""
