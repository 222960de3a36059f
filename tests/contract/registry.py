"""A schema registry over HTTP that answers as Confluent's API reference says."""

from __future__ import annotations

import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BY_ID = re.compile(r"/schemas/ids/(\d+)(?:\?.*)?")
LATEST = re.compile(r"/subjects/([^/]+)/versions/latest(?:\?.*)?")


class RegistryServer:
    """Schemas by id and the latest id by subject; `fails` answers instead of them.

    `fails` is a status and a body that every request gets; `asked` lists the paths.
    With `allowed`, requests need that `Authorization`; `certificate` and `key` are
    files for TLS, and `clients` the authorities of certificates that clients must have.
    """

    def __init__(
        self,
        *,
        allowed: str | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        clients: Path | None = None,
    ) -> None:
        self.allowed = allowed
        self.schemas: dict[int, Mapping[str, Any]] = {}
        self.latest: dict[str, int] = {}
        self.fails: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                given = self.headers.get("Authorization")
                status, body = owner.answer(self.path)
                if owner.allowed is not None and given != owner.allowed:
                    status, body = 401, b'{"error_code": 40101, "message": "No"}'
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if clients is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True
            )
            scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.address = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and refuse connections from now on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, subject: str, schema_id: int, text: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """Make a schema a subject's latest."""
        self.schemas[schema_id] = {"schema": text, **more}
        self.latest[subject] = schema_id

    def answer(self, path: str) -> tuple[int, bytes]:
        """Give the status and body for a path."""
        if self.fails is not None:
            return self.fails
        if (found := BY_ID.fullmatch(path)) is not None:
            schema = self.schemas.get(int(found[1]))
            if schema is None:
                return _error(40403, "Schema not found")
            return 200, json.dumps(schema).encode()
        if (found := LATEST.fullmatch(path)) is not None:
            schema_id = self.latest.get(found[1])
            if schema_id is None:
                return _error(40401, f"Subject '{found[1]}' not found.")
            about = {"subject": found[1], "version": 1, "id": schema_id}
            return 200, json.dumps({**about, **self.schemas[schema_id]}).encode()
        return _error(404, "HTTP 404 Not Found")


def _error(code: int, message: str) -> tuple[int, bytes]:
    return 404, json.dumps({"error_code": code, "message": message}).encode()
