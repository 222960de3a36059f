"""The service end to end: Kafka to Target, both stages, every batch confirmed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from bench.measured.service_runs import run_service, total
from consumer.sandbox.demo.topics import Topics

if TYPE_CHECKING:
    from bench.job import Run
    from consumer.service import Service

LOOK_SECONDS: Final = 0.2


def main(run: Run) -> None:
    """Run until Target has taken and confirmed every profile."""

    async def delivered(service: Service) -> dict[str, float]:
        began = time.monotonic()
        with Topics(run.bootstrap, run.application) as topics:
            while True:
                in_flight = total(service.metrics.in_flight_batches, "")
                if not in_flight and await asyncio.to_thread(topics.uploaded):
                    break
                await asyncio.sleep(LOOK_SECONDS)
        return {
            "delivered_after_s": time.monotonic() - began,
            "rows_uploaded": total(service.metrics.upload_rows),
            "bytes_uploaded": total(service.metrics.upload_bytes),
            "calls": total(service.metrics.calls),
        }

    run_service(run, stages=("aggregate", "upload"), until=delivered)
