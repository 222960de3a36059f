"""What time it is in a partition, by its records alone: its stream time. Pure.

The stream time is the greatest record timestamp so far, but for timestamps that lead it
by more than an hour: such a record is doubted, and the clock stands still. It goes on
at the earliest doubted time once a hundred more records have led than have not, as they
do after a quiet night. So a till with a wrong clock stops nothing, and since only the
records in their order decide, a replay sees the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from consumer.profiles.columns import Ints

LEAD: Final = 3_600_000  # milliseconds
ENOUGH: Final = 100
UNCONFIRMED: Final = -1
"""Doubts of a clock that one record has set and none has confirmed."""
_LATEST: Final = 2**52


@dataclass(frozen=True, slots=True)
class StreamClock:
    """A stream time in milliseconds, 0 before any record; and the doubts about it.

    `doubts`: how many more records have led than have not, `doubted` the earliest of
    their timestamps.
    """

    time: int = 0
    doubts: int = 0
    doubted: int = 0

    @property
    def reached(self) -> int:
        """How far the records are, were the doubted ones right."""
        return max(self.time, self.doubted) if self.doubts > 0 else self.time

    def after(self, timestamp: int) -> StreamClock:
        """Give the clock after one more record."""
        if self.time == 0:
            return StreamClock(max(0, timestamp), UNCONFIRMED)
        if self.doubts == UNCONFIRMED and timestamp < self.time - LEAD:
            return StreamClock(max(0, timestamp), UNCONFIRMED)
        if timestamp <= self.time + LEAD:
            doubts = max(0, self.doubts - 1)
            return StreamClock(max(self.time, timestamp), doubts, self.doubted)
        doubts = max(0, self.doubts) + 1
        doubted = min(timestamp, self.doubted) if doubts > 1 else timestamp
        if doubts == ENOUGH:
            return StreamClock(doubted)
        return StreamClock(self.time, doubts, doubted)


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """Of each record of one partition: the stream time after it, and where it is filed.

    A record is filed under its stream time, a doubted one under its own timestamp: if
    it is right, what it brings must not be forgotten when the clock catches up. That
    one is rounded up, the further ahead the more, so that few such times exist.
    """

    now: Ints
    filed: Ints
    clock: StreamClock


def read(clock: StreamClock, timestamps: Ints) -> StreamTimes:
    """Read on from a clock; `timestamps` are those of the next records, in order."""
    times = np.maximum.accumulate(np.append(clock.time, timestamps))
    before, now = times[:-1], times[1:]
    if clock.time > 0 <= clock.doubts and (timestamps - before <= LEAD).all():
        doubts = max(0, clock.doubts - len(now))
        last = int(now[-1]) if len(now) else clock.time
        return StreamTimes(now, now, StreamClock(last, doubts, clock.doubted))
    now = np.empty(len(timestamps), np.int64)
    for row, timestamp in enumerate(timestamps.tolist()):
        clock = clock.after(timestamp)
        now[row] = clock.time
    return StreamTimes(now, _filed(now, timestamps), clock)


def _filed(now: Ints, timestamps: Ints) -> Ints:
    ahead = np.flatnonzero(timestamps > now)
    filed = now.copy()
    leads = timestamps[ahead] - now[ahead]
    units = 2 ** np.minimum(np.frexp(leads)[1].astype(np.int64) - 1, 50)
    filed[ahead] = np.minimum(-(-timestamps[ahead] // units) * units, _LATEST)
    return filed
