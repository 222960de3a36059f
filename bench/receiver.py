"""A local receiver of batch files: `python -m bench.receiver PORT` takes and forgets.

What the service's side of a POST costs is measured against it, in another process.
"""

from __future__ import annotations

import sys
from typing import Final

from aiohttp import web

LARGEST: Final = 64_000_000
ANSWER: Final = "<response><success>true</success></response>"


async def _take(request: web.Request) -> web.Response:
    async for _ in request.content.iter_any():
        pass
    return web.Response(text=ANSWER, content_type="application/xml")


def main(port: str) -> None:
    """Serve until the process is ended."""
    application = web.Application(client_max_size=LARGEST)
    application.add_routes([web.route("*", "/{path:.*}", _take)])
    web.run_app(
        application, host="127.0.0.1", port=int(port), access_log=None, print=None
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
