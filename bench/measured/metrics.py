"""The aggregate stage, scraped now and then, and what its telling costs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import generate_latest

from bench.measured.service_runs import run_service
from bench.measured.telling import Telling
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.job import Run
    from consumer.service import Service

SCRAPE_SECONDS: Final = 5.0


@contextmanager
def scraped(metrics: Metrics, telling: Telling) -> Iterator[None]:
    """Make the text of a scrape now and then, as Prometheus would have it."""
    end, expose = threading.Event(), telling.timed(generate_latest)

    def scrape() -> None:
        while not end.wait(SCRAPE_SECONDS):
            expose(metrics.registry)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def main(run: Run) -> None:
    """Fold the whole topic into profiles, and tell of it."""
    telling, metrics = Telling(), Metrics()
    telling.listen()

    async def told(_: Service) -> dict[str, float]:
        return {"telling_cpu_s": telling.seconds}

    with scraped(metrics, telling):
        run_service(run, stages=("aggregate",), until=told, metrics=metrics)
