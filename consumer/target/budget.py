"""The account's call budget as slots of the clock, shared without coordination.

The minute is cut into (calls a minute - reserve) slots, numbered since the epoch. Slot
i belongs to partition i mod n of `profiles`; only that partition's owner may start one
call in it. Any 60 seconds touch at most one slot more than a minute holds; the reserve
covers that one, the other users of the account, skewed clocks and delay.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

STATUS_TURN: Final = 2
"""While files wait, at most one of this many calls asks for a status. Each batch needs
one at least: with fewer turns, batches of a lasting overload would never be confirmed.
What a file loses in turns it gains in rows, since it grows while it waits."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The cut of the minute for `partitions` partitions of `profiles`."""

    per_minute: int
    partitions: int

    @property
    def length(self) -> float:
        """Seconds that a slot lasts."""
        return 60.0 / self.per_minute

    def at(self, now: float) -> int:
        """Return the number of the slot that `now` (epoch seconds) lies in."""
        slot = math.floor(now / self.length)
        if self.start(slot) > now:  # rounded up
            return slot - 1
        return slot if self.start(slot + 1) > now else slot + 1

    def start(self, slot: int) -> float:
        """Return the epoch second at which a slot begins."""
        return slot * 60.0 / self.per_minute

    def owner(self, slot: int) -> int:
        """Return the partition that a slot belongs to."""
        return slot % self.partitions


def next_slot(
    slots: Slots, now: float, owned: Collection[int], used: int
) -> int | None:
    """Return the first slot that may still be used, or None if nothing is owned.

    It is the slot that `now` lies in or a later one, is owned, and comes after `used`,
    the last slot in which a call was started (-1 for none). The caller waits for its
    start, checks that it still owns it, and remembers it as used before the call.
    """
    mine = {partition for partition in owned if 0 <= partition < slots.partitions}
    if not mine:
        return None
    first = max(slots.at(now), used + 1)
    own = slots.owner(first)
    return first + min((partition - own) % slots.partitions for partition in mine)


def status_may_go(calls_since_status: int, *, files_wait: bool) -> bool:
    """Whether the next slot may go to a status rather than to a file.

    Statuses use what files leave, and every second call while files wait, so that
    neither starves the other.
    """
    return not files_wait or calls_since_status >= STATUS_TURN - 1
