"""POST: batch files of nearly 50 MB from the service's client to a local receiver."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import uvloop

from bench.measured.upload_render import GIGABYTE, MEGABYTE
from bench.meter import Meter, cpu_seconds
from consumer.errors import SandboxError
from consumer.target.client import TargetClient

if TYPE_CHECKING:
    from bench.job import Run

FILES: Final = 20
ROWS: Final = 200_000
ROW: Final = b"crm-0000000000," + b"0123456789" * 23 + b"\n"
HEADER: Final = b"batch=thirdPartyId,profile\n"
GOOD: Final = 200


def main(run: Run) -> None:
    """Send the files one after the other; events are rows."""
    uvloop.run(_send(run))


async def _send(run: Run) -> None:
    rows = memoryview(ROW * ROWS)
    meter = Meter()
    async with TargetClient(run.endpoint, "acme") as client:
        await client.submit((HEADER, rows[: len(ROW)]), "")
        meter.begin()
        began, used = time.monotonic(), cpu_seconds()
        for number in range(1, FILES + 1):
            reply = await client.submit((HEADER, rows), "")
            if reply.status != GOOD:
                raise SandboxError(f"The receiver answers {reply.status}.")
            meter.at(number * ROWS)
        wall, cpu = time.monotonic() - began, cpu_seconds() - used
    size = FILES * (len(HEADER) + len(rows))
    detail = {
        "mb_per_s": size / MEGABYTE / wall,
        "cpu_s_per_gb": cpu / (size / GIGABYTE),
        "bytes_per_row": float(len(ROW)),
    }
    meter.measured(detail).report()
