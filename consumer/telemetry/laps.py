"""Names every second of a loop: what it does now, until the next step is named.

Since one step begins where the one before ends, the steps add up to the loop's wall
time by construction. A scrape credits the step under way with what has passed.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Counter


class Laps:
    """The clock of one loop; moved by the loop's thread, read by any."""

    def __init__(
        self,
        steps: Mapping[str, Counter],
        first: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the step `first`; `steps` are the only ones there are."""
        self._steps = steps
        self._monotonic = monotonic
        self._lock = Lock()
        self._step = self._known(first)
        self._since = monotonic()
        self._parts: Mapping[str, float] = {}
        self._whole = False
        self._ended = False

    def to(self, step: str, *, whole: bool = False) -> None:
        """End the present step and begin another; ValueError for an unknown one.

        With `whole` a scrape does not credit the step before it ends, since it may
        still be divided or named otherwise.
        """
        self._known(step)
        with self._lock:
            self._credit()
            self._step, self._whole = step, whole

    def rename(self, step: str) -> None:
        """Say what the step under way turned out to be."""
        self._known(step)
        with self._lock:
            self._step = step

    def divide(self, parts: Mapping[str, float]) -> None:
        """Give seconds of the `whole` step under way to others; it keeps the rest."""
        for step in parts:
            self._known(step)
        with self._lock:
            self._parts = parts

    @contextmanager
    def step(self, step: str) -> Iterator[None]:
        """Do a block under this name, then go on under the present one."""
        before, whole = self._step, self._whole
        self.to(step)
        try:
            yield
        finally:
            self.to(before, whole=whole)

    def scrape(self) -> None:
        """Credit the step under way with the time until now."""
        with self._lock:
            if not self._whole and not self._ended:
                self._credit()

    def end(self) -> None:
        """Credit the last step; the loop is over."""
        with self._lock:
            self._credit()
            self._ended = True

    def _credit(self) -> None:
        now = self._monotonic()
        left = now - self._since
        for step, seconds in self._parts.items():
            share = min(max(0.0, seconds), left)
            self._steps[step].inc(share)
            left -= share
        self._parts = {}
        self._steps[self._step].inc(max(0.0, left))
        self._since = now

    def _known(self, step: str) -> str:
        if step not in self._steps:
            message = f"there is no step {step!r}"
            raise ValueError(message)
        return step
