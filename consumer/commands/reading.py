"""Says on stderr how far a long reading of a topic is, and in the end what it took."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consumer.kafka.excerpt import Reached

QUIET_SECONDS: Final = 2.0  # who waits no longer needs no progress
BETWEEN_SECONDS: Final = {True: 0.5, False: 5.0}  # on a terminal, and elsewhere


class Reading:
    """Counts what is read; `on_progress` of an `Excerpt`."""

    def __init__(self) -> None:
        """Begin to count the time."""
        self.offsets = 0
        self._began = self._said_at = time.monotonic()
        self._at: dict[tuple[str, int, int], int] = {}
        self._terminal = sys.stderr.isatty()
        self._written = False

    def __call__(self, reached: Reached) -> None:
        """Count; now and then, write a line over the last one on a terminal."""
        place = reached.topic, reached.partition, reached.first
        self.offsets += reached.at - self._at.get(place, reached.first)
        self._at[place] = reached.at
        now = time.monotonic()
        between = BETWEEN_SECONDS[self._terminal]
        if now - self._began < QUIET_SECONDS or now - self._said_at < between:
            return
        self._said_at = now
        done = (reached.at - reached.first) / max(1, reached.end - reached.first)
        text = f"reading {reached.topic}, partition {reached.partition}: {done:.0%}"
        if self._terminal:
            self._written = True
            text = f"\r{text}\x1b[K"
        else:
            text = f"{text}\n"
        sys.stderr.write(text)
        sys.stderr.flush()

    def close(self) -> str:
        """Clear the line; returns what was read and how long that took."""
        if self._written:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        seconds = time.monotonic() - self._began
        return f"{self.offsets:,} offsets read in {seconds:.1f} s."
