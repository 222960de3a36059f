"""Writes down what every thread and task is doing when a loop has stopped moving.

A thread of its own, since the loop that hangs may be the one that serves /livez.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Final, Self

from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.telemetry.health import Health

LOOK_SECONDS: Final = 5.0
_TASK_FRAMES: Final = 8

log = get_logger(__name__)


class Watchdog:
    """Looks at liveness while it is entered; logs the stacks once for each stall."""

    def __init__(self, health: Health, clock: Clock) -> None:
        """Watch nothing yet."""
        self._health = health
        self._clock = clock
        self._told: set[str] = set()
        self._end = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    async def __aenter__(self) -> Self:
        """Start watching."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._end.set()
        await asyncio.to_thread(self._thread.join)

    def look(self) -> None:
        """Log all stacks if a loop has stalled that had not when last looked at."""
        stalled = self._health.liveness(self._clock.monotonic()).stalled
        fresh = stalled.keys() - self._told
        self._told = set(stalled)
        if fresh:
            log.error(
                "A loop does not move; this is what everything is doing.",
                loops={name: round(stalled[name]) for name in sorted(fresh)},
                stacks=stacks(self._loop),
            )

    def _run(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.look()


def stacks(loop: asyncio.AbstractEventLoop | None = None) -> str:
    """Return the stacks of all threads, and of the tasks that wait on a loop."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - its name
    ]
    tasks = () if loop is None else asyncio.all_tasks(loop)
    for task in tasks:
        frames = task.get_stack(limit=_TASK_FRAMES)
        lines = "".join(
            f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}\n"
            for frame in frames
        )
        parts.append(f"task {task.get_name()}:\n{lines}")
    return "\n".join(parts)
