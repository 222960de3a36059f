"""The Target sandbox as a server: one account, two ports for Adobe's two hosts."""

import errno
from collections.abc import Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from consumer.clock import Clock, SystemClock
from consumer.errors import AddressInUse, SandboxError
from consumer.sandbox.target.account import Account
from consumer.sandbox.target.admin import Admin
from consumer.sandbox.target.bulk import Bulk
from consumer.sandbox.target.calls import journaling
from consumer.sandbox.target.control import Control
from consumer.sandbox.target.faults import Fault
from consumer.sandbox.target.journal import Journal
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.page import Page
from consumer.sandbox.target.single import Single

_LARGEST_BODY: Final = 200_000_000  # bytes; above Target's limit, to answer it
_SHUTDOWN: Final = 1.0  # seconds for answers under way


class TargetSandbox:
    """Adobe Target for one client, answering as its documentation says.

    Use it as an async context manager; `endpoint` is known inside. Everything that
    tests ask or order is on `account`, with the usual ones also here.
    """

    def __init__(
        self,
        options: TargetOptions | None = None,
        clock: Clock | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        status_port: int = 0,
    ) -> None:
        """Prepare an account; port 0 takes a free one."""
        self.account: Final = Account(
            options or TargetOptions(), clock or SystemClock()
        )
        self._bulk = Bulk(self.account)
        self._host = host
        self._ports = (port, status_port)
        self._stack = AsyncExitStack()
        self.endpoint = ""  # of submissions, fetches, single updates and /sandbox/
        self.status_endpoint = ""  # of batchStatus

    async def __aenter__(self) -> Self:
        """Listen on both ports, or raise `AddressInUse`."""
        submit = self._application()
        submit.add_routes(self._bulk.submit_routes())
        submit.add_routes(Single(self.account).routes())
        submit.add_routes(Admin(self.account).routes())
        submit.add_routes(Control(self.account).routes())
        submit.add_routes(Page(self.account).routes())
        status = self._application()
        status.add_routes(self._bulk.status_routes())
        async with AsyncExitStack() as stack:
            self.endpoint = await self._listen(stack, submit, self._ports[0])
            self.status_endpoint = await self._listen(stack, status, self._ports[1])
            self._stack = stack.pop_all()
        base = self.account.options.status_base
        self._bulk.status_base = base or self.status_endpoint
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening; what was seen stays readable."""
        await self._stack.aclose()

    @property
    def journal(self) -> Journal:
        """Return what was seen so far."""
        return self.account.journal

    def order(self, fault: Fault) -> None:
        """Let the next calls go wrong."""
        self.account.faults.order(fault)

    def profile(self, visitor: str) -> dict[str, str] | None:
        """Return a visitor's attributes by thirdPartyId, None without a profile."""
        return self.account.profile(visitor)

    def profiles(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield every visitor's attributes by thirdPartyId."""
        for visitor, found in self.account.profiles():
            yield visitor, found.values()

    def _application(self) -> web.Application:
        return web.Application(
            middlewares=[journaling(self.account)], client_max_size=_LARGEST_BODY
        )

    async def _listen(
        self, stack: AsyncExitStack, application: web.Application, port: int
    ) -> str:
        """Serve an application until the stack is closed; return its address."""
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self._host, port).start()
        except OSError as error:
            where = f"{self._host}:{port}"
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"The Target sandbox cannot listen on {where}: it is taken.",
                    "Choose another port, or 0 for a free one.",
                ) from error
            raise SandboxError(
                f"The Target sandbox cannot listen on {where}: {error.strerror}."
            ) from error
        host, bound = runner.addresses[0][:2]
        return f"http://{host}:{bound}"
