"""Time as a dependency: whoever waits or measures is handed a `Clock`.

`now` is for times that leave the process, `monotonic` for durations. The time on an
event is never read here: it is the event's own `event_time`.
"""

import asyncio
import heapq
import itertools
import time
from typing import Final, Protocol

SLEWED: Final = 0.5
_MINUTE: Final = 60.0


class Clock(Protocol):
    """Reads the time and waits."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; zero or less only yields to the loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of the system's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))


class WallSteps:
    """Notices that somebody has set the wall clock, by the monotonic one.

    What a time daemon does bit by bit, up to `SLEWED` seconds a minute, is no step.
    """

    def __init__(self, clock: Clock) -> None:
        """Take the clock as right from now on."""
        self._clock = clock
        self._since = clock.monotonic()
        self._apart = clock.now() - self._since

    def step(self) -> float:
        """Return by how many seconds it was set since the last look, 0 if it was not.

        Negative: it was set back.
        """
        monotonic = self._clock.monotonic()
        apart = self._clock.now() - monotonic
        step = apart - self._apart
        stepped = abs(step) > SLEWED
        if stepped or monotonic - self._since >= _MINUTE:
            self._since, self._apart = monotonic, apart
        return step if stepped else 0.0


class ManualClock:
    """A clock that moves only when told; for tests and simulations.

    Used from one event loop. `advance` moves at once and wakes the sleepers whose time
    has come, earliest first; `run_for` stops at each sleeper's deadline and lets the
    loop run, so that a task which sleeps repeatedly sees every one of its deadlines.
    """

    def __init__(self, now: float = 1_700_000_000.0, monotonic: float = 0.0) -> None:
        """Start at `now`, with `monotonic` counting from its own start."""
        self._now = now
        self._monotonic = monotonic
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return seconds since the epoch, as last moved."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since this clock's start, as last moved."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deadline = self._monotonic + seconds
        heapq.heappush(self._sleepers, (deadline, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move forward and wake, in order of their deadlines, those who are due."""
        self._move_to(self._monotonic + seconds)

    def jump(self, seconds: float) -> None:
        """Set `now` forward or back, as whoever sets a clock does; no time passes."""
        self._now += seconds

    async def run_for(self, seconds: float) -> None:
        """Move forward deadline by deadline, letting woken tasks run at each."""
        end = self._monotonic + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._move_to(self._sleepers[0][0])
            await self._settle()
        self._move_to(end)
        await self._settle()

    def _move_to(self, monotonic: float) -> None:
        self._now += monotonic - self._monotonic
        self._monotonic = monotonic
        while self._sleepers and self._sleepers[0][0] <= monotonic:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # its sleeper was cancelled
                woken.set_result(None)

    @staticmethod
    async def _settle() -> None:
        """Let tasks run that became ready, and those that they make ready."""
        for _ in range(20):  # deep enough for a task that wakes a queue that wakes one
            await asyncio.sleep(0)
