"""Several replicas of the service, driven as if they were one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from consumer.sandbox.demo.service_process import Metrics, ServiceProcess, scrape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from consumer.sandbox.demo.work import Work


class Replicas:
    """Runs a service on each configuration while it is entered."""

    def __init__(self, works: Sequence[Work]) -> None:
        """Start nothing yet."""
        self._works = works
        self._services = [ServiceProcess(work) for work in works]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start them all."""
        with ExitStack() as on_failure:
            for service in self._services:
                on_failure.enter_context(service)
            self._stack = on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End them, at once where they still run."""
        self._stack.close()

    def require_running(self) -> None:
        """Raise `SandboxError` with the end of its log if one has ended."""
        for service in self._services:
            service.require_running()

    def metrics(self) -> Metrics:
        """Scrape them all: totals are those of all replicas together."""
        return Metrics("\n".join(scrape(work.port) for work in self._works))

    def drain(self, timeout: float) -> int | None:
        """Ask all to stop; the first exit code that is not 0, None if one stays."""
        deadline = time.monotonic() + timeout
        for service in self._services:
            service.ask_to_stop()
        codes = [
            service.wait(max(0.0, deadline - time.monotonic()))
            for service in self._services
        ]
        return next((code for code in codes if code != 0), 0)
