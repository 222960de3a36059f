"""The internal HTTP endpoints: /metrics, /livez, /readyz and the status page at /.

Enters what the other telemetry files keep; leaves HTTP answers. Nothing here asks a
broker or Target anything.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Self

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from consumer.errors import AddressInUse, ConfigurationError
from consumer.telemetry.status import as_json
from consumer.telemetry.status_page import page

if TYPE_CHECKING:
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.config import HttpSettings
    from consumer.telemetry.health import Health
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard
    from consumer.telemetry.watchdog import Watchdog


class TelemetryServer:
    """Serves the endpoints while it is entered; `port` is then the one it got."""

    def __init__(  # noqa: PLR0913 - everything that a page shows comes in here
        self,
        settings: HttpSettings,
        *,
        application: str,
        metrics: Metrics,
        health: Health,
        board: StatusBoard,
        clock: Clock,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Keep what to serve; nothing listens yet."""
        self._settings = settings
        self._application = application
        self._metrics = metrics
        self._health = health
        self._board = board
        self._clock = clock
        self._watchdog = watchdog
        self._runner = web.AppRunner(self._app(), access_log=None)
        self.port = settings.port

    async def __aenter__(self) -> Self:
        """Listen; AddressInUse if the port is taken, ConfigurationError otherwise."""
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            listening = _listen(host, port)
            self.port = listening.getsockname()[1]
            await web.SockSite(self._runner, listening).start()
        except OSError as error:
            await self._runner.cleanup()
            raise _translated(error, host, port) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and let the running answers end."""
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/livez", self._serve_livez)
        app.router.add_get("/readyz", self._serve_readyz)
        app.router.add_get("/", self._serve_status)
        return app

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        self._metrics.reflect(self._health, self._clock.monotonic(), self._clock.now())
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _serve_livez(self, _request: web.Request) -> web.Response:
        liveness = self._health.liveness(self._clock.monotonic())
        if liveness.alive:
            return web.Response(text="alive\n")
        if self._watchdog is not None:
            self._watchdog.look()
        lines = [
            f"{loop} has not moved for {seconds:.0f} s\n"
            for loop, seconds in liveness.stalled.items()
        ]
        return web.Response(text="".join(lines), status=503)

    async def _serve_readyz(self, _request: web.Request) -> web.Response:
        readiness = self._health.readiness()
        reasons = {**readiness.waiting, **readiness.degraded}
        lines = [f"{readiness.word}\n", *(f"{k}: {v}\n" for k, v in reasons.items())]
        return web.Response(text="".join(lines), status=200 if readiness.ready else 503)

    async def _serve_status(self, request: web.Request) -> web.Response:
        if request.query.get("format") == "json":
            return web.json_response(as_json(self._health, self._board))
        html = page(self._application, self._health, self._board)
        return web.Response(text=html, content_type="text/html")


def _listen(host: str, port: int) -> socket.socket:
    """Bind here and not by asyncio, whose error hides the reason."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
        listening.setblocking(False)  # noqa: FBT003 - its signature
    except OSError:
        listening.close()
        raise
    return listening


def _translated(
    error: OSError, host: str, port: int
) -> AddressInUse | ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"Port {port} on {host} is taken by another process.",
            "Stop it, or set another `port` in [http] (0 takes a free one).",
        )
    if error.errno == errno.EACCES:
        allowed = f"this user may not listen on this port ({error.strerror})"
        return ConfigurationError("http.port", port, allowed)
    allowed = f"expected a host name or address of this machine ({error.strerror})"
    return ConfigurationError("http.host", host, allowed)
