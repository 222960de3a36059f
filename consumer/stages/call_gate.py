"""Lets calls to Target through, one per clock slot that this replica owns.

Files, statuses and fetches queue here; whoever is let through starts one call at once.
Nothing is let through while the membership in the group is in doubt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from consumer.stages.waiting import wait_for
from consumer.target.budget import Slots, next_slot, status_may_go

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from consumer.clock import Clock

CallKind = Literal["submit", "status", "fetch"]

_LOOK_AGAIN: Final = 1.0
"""Seconds at most until ownership and holds are looked at again."""


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
        self._waiting: dict[CallKind, deque[asyncio.Future[None]]] = {
            "submit": deque(),
            "status": deque(),
            "fetch": deque(),
        }
        self._wanted = asyncio.Event()
        self._used = -1
        self._since_status = 0
        self._not_before = 0.0

    async def take(self, kind: CallKind) -> None:
        """Return when one call of this kind may be started."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[kind].append(granted)
        self._wanted.set()
        await granted

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: all calls share the account."""
        self._not_before = max(self._not_before, self._clock.now() + seconds)

    def release(self) -> None:
        """Lift what `hold` has set."""
        self._not_before = 0.0

    def seconds_to_next(self) -> float | None:
        """Return how long until a call could start at the earliest, None if never."""
        now = self._clock.now()
        slot = self._next(now)
        return None if slot is None else max(0.0, self._start(slot) - now)

    async def run(self) -> None:
        """Grant slots until cancelled."""
        while True:
            if not self._someone_waits():
                self._wanted.clear()
                await wait_for(self._wanted, self._clock, None)
                continue
            now = self._clock.now()
            slot = self._next(now)
            if slot is None:
                await self._clock.sleep(_LOOK_AGAIN)
            elif (ahead := self._start(slot) - now) > 0:
                await self._clock.sleep(min(ahead, _LOOK_AGAIN))
            elif not await self._fresh():
                await self._clock.sleep(_LOOK_AGAIN)
            elif self._next(self._clock.now()) == slot:  # time may have passed
                self._used = slot
                self._grant()

    def _next(self, now: float) -> int | None:
        at = max(now, self._not_before)
        return next_slot(self._slots, at, self._owned(), self._used)

    def _start(self, slot: int) -> float:
        """Return when a call may start in a slot: a hold may end within it."""
        return max(self._slots.start(slot), self._not_before)

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
            asks.popleft().set_result(None)
        else:
            self._since_status += 1
            files.popleft().set_result(None)
