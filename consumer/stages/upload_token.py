"""Keeps the fetched profile token good: before it ends, and when Target refuses it.

Each replica fetches for itself, at most once a minute and as a rule once in hours: the
one Admin API call in it is left to the budget's reserve. While there is no token yet,
calls are held back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from consumer.errors import PosConsumerError
from consumer.stages.waiting import wait_for
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.clock import Clock
    from consumer.target.token_api import FetchedToken

SELDOM: Final = 21_600.0
"""Seconds at most between two fetches: a token that somebody replaced is noticed."""

OFTEN: Final = 60.0
"""Seconds at least between two fetches, whatever happens."""

REFUSED: Final = (
    "Target refuses the profile token; uploads pause, nothing is lost. Put a valid one "
    "where target.token points: it is read again; one that is fetched is fetched again."
)
_SHARE: Final = 0.5  # of a token's remaining time, after which it is fetched again

log = get_logger(__name__)


class TokenKeeper:
    """Holds the token; `run` is its loop.

    `hold` keeps calls back for so many seconds, `release` lets them go again; `told`
    hears the token's end (seconds since the epoch, None if unknown).
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[FetchedToken]],
        clock: Clock,
        *,
        hold: Callable[[float], None],
        release: Callable[[], None],
        told: Callable[[float | None], None],
    ) -> None:
        """Have no token yet."""
        self.text = ""
        self._fetch = fetch
        self._clock = clock
        self._hold = hold
        self._release = release
        self._told = told
        self._wanted = asyncio.Event()

    def refused(self) -> None:
        """Fetch anew soon: Target did not take the token."""
        self._wanted.set()

    async def run(self) -> None:
        """Fetch when needed, until cancelled."""
        while True:
            if not self.text:
                self._hold(2 * OFTEN)
            pause = await self._try()
            self._wanted.clear()
            await self._clock.sleep(OFTEN)
            await wait_for(self._wanted, self._clock, pause - OFTEN)

    async def _try(self) -> float:
        """Fetch once; return the seconds until the next time."""
        try:
            found = await self._fetch()
        except PosConsumerError as error:
            log.warning("The profile token could not be fetched.", error=str(error))
            return OFTEN
        if found.text != self.text:
            log.info("A profile token was fetched.", good_for_seconds=found.seconds)
            self.text = found.text
            self._release()
        self._told(self._clock.now() + found.seconds if found.seconds else None)
        return max(OFTEN, min(SELDOM, found.seconds * _SHARE or SELDOM))
