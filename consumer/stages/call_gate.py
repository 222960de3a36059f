"""Lets calls to Target through, one per clock slot that this replica owns.

Files, statuses and fetches queue here; whoever is let through starts one call at once.
Nothing is let through while the membership in the group is in doubt.

Slots follow the wall clock, so that replicas need not talk; what waits is kept by the
monotonic one. When the wall clock is set, forward or back, slots are counted anew a
minute after the last call: no 60 seconds hold calls by both counts, however often it is
set, and nothing waits for a time that lies far ahead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from consumer.clock import WallSteps
from consumer.stages.waiting import wait_for
from consumer.target.budget import Slots, next_slot, status_may_go
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from consumer.clock import Clock

CallKind = Literal["submit", "status", "fetch"]

_LOOK_AGAIN: Final = 1.0
"""Seconds at most until ownership, holds and clocks are looked at again."""

_LATE: Final = 1.0
"""Seconds after which a slot that was granted is lost."""

_WINDOW: Final = 60.0
"""Seconds in which Target counts calls."""

log = get_logger(__name__)


class CallGate:
    """Grants slots; `run` is its loop.

    `owned` tells whose slots may be used, `fresh` whether the group has confirmed that
    lately (a woken zombie must stay silent).
    """

    def __init__(
        self,
        slots: Slots,
        clock: Clock,
        owned: Callable[[], Collection[int]],
        fresh: Callable[[], Awaitable[bool]],
    ) -> None:
        """Grant nothing yet."""
        self._slots = slots
        self._clock = clock
        self._owned = owned
        self._fresh = fresh
        self._waiting: dict[CallKind, deque[asyncio.Future[float]]] = {
            "submit": deque(),
            "status": deque(),
            "fetch": deque(),
        }
        self._wanted = asyncio.Event()
        self._used = -1
        self._since_status = 0
        self._steps = WallSteps(clock)
        # Monotonic, as are all times here but those of slots.
        never = float("-inf")
        self._granted_at = self._held_until = self._counted_from = never

    async def take(self, kind: CallKind) -> None:
        """Return when one call of this kind may be started."""
        while True:
            granted: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            self._waiting[kind].append(granted)
            self._wanted.set()
            granted_at = await granted
            # a process that was frozen meanwhile has slept through its slot
            if self._clock.monotonic() - granted_at < _LATE:
                return

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: all calls share the account."""
        self._held_until = max(self._held_until, self._clock.monotonic() + seconds)

    def release(self) -> None:
        """Lift what `hold` has set."""
        self._held_until = float("-inf")

    def seconds_to_next(self) -> float | None:
        """Return how long until a call could start at the earliest, None if never."""
        found = self._next()
        return None if found is None else found[1]

    async def run(self) -> None:
        """Grant slots until cancelled."""
        while True:
            if not self._someone_waits():
                self._wanted.clear()
                await wait_for(self._wanted, self._clock, None)
                continue
            found = self._next()
            if found is None:
                await self._clock.sleep(_LOOK_AGAIN)
            elif (ahead := found[1]) > 0:
                await self._clock.sleep(min(ahead, _LOOK_AGAIN))
            elif not await self._fresh():
                await self._clock.sleep(_LOOK_AGAIN)
            elif self._next() == found:  # time may have passed
                self._used = found[0]
                self._granted_at = self._clock.monotonic()
                self._grant()

    def _next(self) -> tuple[int, float] | None:
        """Return the next slot that may be used, and the seconds until then."""
        if step := self._steps.step():
            self._used = -1
            self._counted_from = self._granted_at + _WINDOW
            log.warning(
                "The wall clock was set; calls go on by it, a minute after the last.",
                seconds=round(step, 1),
            )
        now = self._clock.now()
        until = max(self._held_until, self._counted_from)
        held = max(0.0, until - self._clock.monotonic())
        slot = next_slot(self._slots, now + held, self._owned(), self._used)
        if slot is None:
            return None
        # a hold may end within a slot
        return slot, max(held, self._slots.start(slot) - now)

    def _someone_waits(self) -> bool:
        for queue in self._waiting.values():
            while queue and queue[0].done():  # its task was cancelled
                queue.popleft()
        return any(self._waiting.values())

    def _grant(self) -> None:
        if not self._someone_waits():
            return
        files = self._waiting["submit"]
        asks = self._waiting["status"] or self._waiting["fetch"]
        if asks and status_may_go(self._since_status, files_wait=bool(files)):
            self._since_status = 0
            asks.popleft().set_result(self._granted_at)
        else:
            self._since_status += 1
            files.popleft().set_result(self._granted_at)
