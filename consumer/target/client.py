"""The only place that speaks HTTP to Target: a file goes out, a `Reply` comes back.

Every call is made once. There are no redirects, no proxies from the environment and no
retries of the HTTP library's own; answers are cut at a size, calls at a time. The
profile token goes to the endpoint alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from consumer.target.answer import LARGEST
from consumer.target.outcome import Failure, Reply
from consumer.target.sample import profile_path

CALL_TIMEOUT: Final = 120.0
"""Seconds for a whole call; 50 MB on a slow line take their time."""

STATUS_TIMEOUT: Final = 20.0
"""Seconds for a whole status call, which carries nothing."""

CONNECT_TIMEOUT: Final = 10.0
SILENCE_TIMEOUT: Final = 60.0
"""Seconds without a byte of the answer, once the file is out."""

_PIECE: Final = 262_144  # bytes handed to the socket at once, so that others get a turn
_AGENT: Final = "pos-consumer"


class TargetClient:
    """Calls one account's endpoint; an async context manager that owns its session."""

    def __init__(
        self,
        endpoint: str,
        client: str,
        *,
        api: str = "v2",
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        """Address `client`'s bulk API of version `api` at `endpoint`."""
        self._client = client
        version = "" if api == "v1" else f"/{api}"
        self.endpoint = URL(endpoint)
        self.batch_url = URL(f"{endpoint}/m2/{client}{version}/profile/batchUpdate")
        self._timeout = aiohttp.ClientTimeout(
            total=timeout, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE_TIMEOUT
        )
        self._status_timeout = aiohttp.ClientTimeout(
            total=min(timeout, STATUS_TIMEOUT), sock_connect=CONNECT_TIMEOUT
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        session = aiohttp.ClientSession(
            timeout=self._timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _AGENT},
        )
        # a GET repeated in silence would be a call that the budget does not know of;
        # aiohttp offers no public switch
        session._retry_connection = False  # noqa: SLF001
        self._session = session
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()

    async def submit(
        self,
        parts: tuple[bytes, memoryview],
        token: str,
        may_go: Callable[[], bool] = lambda: True,
    ) -> Reply:
        """POST a batch file, given as the parts that make it up, in order.

        `may_go` is asked before each piece: where it says no, the rest is kept back and
        the call ends as not sent, for a file without its end is none. An empty token
        sends none. Never raises for anything that the network does.
        """
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(sum(len(part) for part in parts)),
        }
        file = _File(parts, may_go)
        reply = await self._call("POST", self.batch_url, headers, token, file.pieces())
        if file.kept_back:
            return Reply(failure=Failure.NOT_SENT, detail="kept back before its end")
        if reply.failure is Failure.NO_ANSWER and not file.out:
            return replace(reply, failure=Failure.CUT_OFF)
        return reply

    async def status(self, url: str, token: str) -> Reply:
        """GET a batch's status from a URL that `status.status_url` let through."""
        try:
            where = URL(url, encoded=True)
        except ValueError as error:
            return Reply(failure=Failure.NOT_SENT, detail=_told(error))
        return await self._call("GET", where, {}, token, None)

    async def fetch(self, visitor: str, token: str) -> Reply:
        """GET a visitor's profile as it is at Target, by thirdPartyId."""
        path = profile_path(visitor, self._client)
        url = URL(f"{str(self.endpoint).rstrip('/')}{path}", encoded=True)
        return await self._call("GET", url, {}, token, None)

    async def _call(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        token: str,
        data: AsyncIterator[bytes] | None,
    ) -> Reply:
        assert self._session is not None, "the client is used as a context manager"  # noqa: S101 - a bug in the caller
        own = dict(headers)
        if token and url.origin() == self.endpoint.origin():
            own["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.request(
                method,
                url,
                headers=own,
                data=data,
                allow_redirects=False,
                timeout=self._timeout if data else self._status_timeout,
            ) as answer:
                body = await _capped(answer.content)
                if body is None:
                    detail = f"the answer is larger than {LARGEST:,} bytes"
                    return Reply(failure=Failure.BAD_ANSWER, detail=detail)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, found, body)
        except aiohttp.ClientConnectorError as error:
            return Reply(failure=Failure.NOT_SENT, detail=_told(error))
        except (aiohttp.ServerTimeoutError, TimeoutError) as error:
            kind = (
                Failure.NOT_SENT
                if isinstance(error, aiohttp.ConnectionTimeoutError)
                else Failure.NO_ANSWER
            )
            return Reply(failure=kind, detail=f"no answer in time ({_told(error)})")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(failure=Failure.NO_ANSWER, detail=_told(error))


class _KeptBackError(OSError):
    """Ends a call whose file may go no further."""


class _File:
    """A file on its way out; `out` once its last piece was handed to the socket."""

    def __init__(
        self, parts: tuple[bytes, memoryview], may_go: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._may_go = may_go
        self.out = False
        self.kept_back = False

    async def pieces(self) -> AsyncIterator[bytes]:
        left = sum(len(part) for part in self._parts)
        for part in self._parts:
            view = memoryview(part)
            for start in range(0, len(view), _PIECE):
                piece = bytes(view[start : start + _PIECE])
                if not self._may_go():
                    self.kept_back = True
                    raise _KeptBackError
                left -= len(piece)
                self.out = left == 0  # said before: nobody may come back to say it
                yield piece
                await asyncio.sleep(0)


async def _capped(content: aiohttp.StreamReader) -> bytes | None:
    """Read a body, or return None as soon as it is larger than an answer may be."""
    pieces = bytearray()
    async for piece in content.iter_any():
        pieces += piece
        if len(pieces) > LARGEST:
            return None
    return bytes(pieces)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")
