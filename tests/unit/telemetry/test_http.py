"""The HTTP endpoints answer from memory, and say what is wrong."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from consumer.clock import ManualClock
from consumer.config import HttpSettings
from consumer.errors import AddressInUse, ConfigurationError
from consumer.telemetry.health import Health
from consumer.telemetry.http import TelemetryServer
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import BatchStatus, PartitionStatus, StatusBoard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Service:
    """What the endpoints look at, and a way to ask them."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.clock = ManualClock(now=1_000.0, monotonic=100.0)
        self.health = Health()
        self.metrics = Metrics()
        self.board = StatusBoard()
        self.server = TelemetryServer(
            HttpSettings(host=host, port=port),
            application="shop <1>",
            metrics=self.metrics,
            health=self.health,
            board=self.board,
            clock=self.clock,
        )

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Return status, content type and body of an answer."""
        address = f"http://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(address, headers=headers) as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()


@asynccontextmanager
async def served() -> AsyncIterator[Service]:
    """Serve on a free port."""
    service = Service()
    async with service.server:
        yield service


async def test_metrics_are_served_with_health_in_them() -> None:
    """A scrape sees the state of that moment, in both text formats."""
    async with served() as service:
        service.health.component("upload").beat(95.0)
        status, kind, body = await service.get("/metrics")
        assert status == 200
        assert kind.startswith("text/plain")
        assert 'heartbeat_timestamp_seconds{loop="upload"} 995.0' in body
        _, kind, body = await service.get(
            "/metrics", Accept="application/openmetrics-text; version=1.0.0"
        )
        assert kind.startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")


async def test_livez_fails_only_for_a_loop_that_does_not_move() -> None:
    """The answer names the loop and for how long it has not moved."""
    async with served() as service:
        loop = service.health.component("aggregate", stalled_after=30)
        loop.beat(100.0)
        loop.wait("the broker is away")
        assert (await service.get("/livez"))[0] == 200
        service.clock.advance(31)
        status, _, body = await service.get("/livez")
        assert status == 503
        assert body == "aggregate has not moved for 31 s\n"


async def test_readyz_tells_why_not() -> None:
    """Not ready is 503 with the reason; halted partitions are 200 and degraded."""
    async with served() as service:
        component = service.health.component("aggregate")
        component.wait("restoring partition 2")
        status, _, body = await service.get("/readyz")
        assert (status, body) == (503, "not ready\naggregate: restoring partition 2\n")
        component.ready()
        assert (await service.get("/readyz"))[0] == 200
        component.degrade({"partition 1": "its topic was made anew"})
        status, _, body = await service.get("/readyz")
        assert status == 200
        assert body == "degraded\naggregate: partition 1: its topic was made anew\n"


async def test_the_status_page_shows_partitions_and_batches() -> None:
    """The page and its JSON show the same facts, escaped for HTML."""
    async with served() as service:
        service.health.component("upload").ready()
        service.board.partition(PartitionStatus("upload", 3, "running <b>", 17, 4))
        service.board.batch(BatchStatus("b", 0.0, 100_000, 49_000_000, "accepted"))
        status, kind, body = await service.get("/")
        assert status == 200
        assert kind.startswith("text/html")
        assert "<h1>shop &lt;1&gt;</h1>" in body
        assert "running &lt;b&gt;" in body
        assert "100,000" in body
        assert "49.0 MB" in body
        _, kind, body = await service.get("/?format=json")
        assert kind.startswith("application/json")
        facts = json.loads(body)
        assert facts["state"] == "ready"
        assert facts["batches"][0]["rows"] == 100_000
        assert facts["partitions"][0]["state"] == "running <b>"


async def test_an_occupied_port_is_one_sentence_with_its_remedy() -> None:
    """Who starts a second one is told which key to change."""
    async with served() as service:
        second = Service(port=service.server.port)
        with pytest.raises(AddressInUse) as caught:
            await second.server.__aenter__()
    assert str(service.server.port) in str(caught.value)
    assert "`port` in [http]" in str(caught.value)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
async def test_a_host_that_is_not_ours_is_a_configuration_error(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong `host` is told apart from an occupied port."""
    if host.endswith(".invalid"):

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigurationError) as caught:
        await Service(host=host).server.__aenter__()
    assert str(caught.value).startswith(f'http.host = "{host}"')


async def test_the_port_is_free_again_afterwards() -> None:
    """Leaving closes the socket."""
    async with served() as service:
        port = service.server.port
    again = Service(port=port)
    async with again.server:
        assert (await again.get("/livez"))[0] == 200
