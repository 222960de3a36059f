"""The generator registers its schema as producers do, before its records name it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from consumer.errors import RegistryUnreachable, SandboxError
from consumer.sandbox.ports import free_port
from consumer.sandbox.purchases.registered import register
from consumer.sandbox.purchases.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answering(status: int, body: object) -> Iterator[tuple[str, list[object]]]:
    """Answer every call so; gives the address, and what is asked."""
    asked: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked.append((self.path, json.loads(self.rfile.read(length))))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_registry_gives_the_id() -> None:
    """The call is that of Confluent's interface, below whatever path it has."""
    with answering(200, {"id": 7}) as (address, asked):
        assert register(f"{address}/apis/ccompat/v7/", "purchases-value") == 7
    path = "/apis/ccompat/v7/subjects/purchases-value/versions"
    assert asked == [(path, {"schema": SCHEMA})]


def test_a_refusal_and_an_absence_are_one_sentence() -> None:
    """Whoever starts the generator is told what the registry said."""
    with (
        answering(409, {"message": "incompatible"}) as (address, _),
        pytest.raises(SandboxError, match="incompatible"),
    ):
        register(address, "purchases-value")
    with pytest.raises(RegistryUnreachable, match="No schema registry answered"):
        register(f"http://127.0.0.1:{free_port()}", "purchases-value")
