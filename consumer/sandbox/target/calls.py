"""Notes every call in the journal, answered or not."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from consumer.sandbox.target.account import Account
from consumer.sandbox.target.faults import Endpoint
from consumer.sandbox.target.journal import Call

_CALL: Final = web.RequestKey("call", tuple[Endpoint, bool, int])
_DROPPED: Final = web.RequestKey("dropped", bool)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def noted(
    request: web.Request, endpoint: Endpoint, *, metered: bool, size: int = 0
) -> None:
    """Say what a request is, so that `journaling` can note it."""
    request[_CALL] = (endpoint, metered, size)


def dropped(request: web.Request) -> web.Response:
    """Break the connection in place of an answer."""
    request[_DROPPED] = True
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def journaling(account: Account) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that notes what handlers said of their requests."""

    @web.middleware
    async def journal(request: web.Request, handler: Handler) -> web.StreamResponse:
        at = account.clock.now()
        status = 0
        try:
            response = await handler(request)
            status = 0 if _DROPPED in request else response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            if _CALL in request:
                endpoint, metered, size = request[_CALL]
                account.journal.calls.append(
                    Call(
                        at,
                        endpoint,
                        request.method,
                        request.path_qs,
                        status,
                        metered,
                        "Authorization" in request.headers,
                        size,
                    )
                )
        return response

    return journal
