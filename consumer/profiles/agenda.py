"""The day on which each profile is next looked at, though nothing is bought.

A window slides when its oldest day leaves it, and who buys nothing expires. A profile's
own record says when: the agenda is made from nothing else, so that it can be made anew
at any time. Entries are a day and a store key, so that they sort by both.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed
from consumer.profiles.fold import DAY_MILLIS
from consumer.profiles.store import Changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from consumer.plan.compile import Plan
    from consumer.profiles.columns import Ints
    from consumer.profiles.record import ProfileCodec
    from consumer.profiles.store import PartitionStore

Flags: TypeAlias = "NDArray[np.bool_]"

NEVER: Final = 2**31 - 1
ENTRY: Final = struct.Struct(">I16s")
NOTE: Final = "agenda"
PAGE: Final = 10_000


class Agenda:
    """Reads from profiles on which days they change by themselves."""

    def __init__(
        self, plan: Plan, codec: ProfileCodec, expire_days: int | None = None
    ) -> None:
        """Watch the attributes that have a window, and who buys nothing for so long."""
        self._codec = codec
        self.expire_days = expire_days
        self._windows = [
            (one.name, one.window, aggregate_for(one))
            for one in plan.attributes
            if one.window is not None
        ]
        watched = [[name, days] for name, days, _ in self._windows]
        self._definition = repr([watched, expire_days]).encode()

    def __bool__(self) -> bool:
        """Tell whether any profile ever changes by itself."""
        return bool(self._windows) or self.expire_days is not None

    def days(self, profiles: pa.RecordBatch, today: Ints | None = None) -> Ints:
        """Give the first day after `today` on which each profile is to be looked at.

        `today` is each profile's `as_of_day` if it is not given. `NEVER`: on none.
        """
        if today is None:
            as_of = profiles.column("as_of_day").fill_null(0)
            today = as_of.to_numpy().astype(np.int64)
        first = np.full(len(today), NEVER, np.int64)
        for name, window, aggregate in self._windows:
            state = aggregate.from_arrow(profiles.column(name))
            slots, days = windowed(aggregate).days(state)
            leaves = days + window
            slides = leaves > today[slots]
            np.minimum.at(first, slots[slides], leaves[slides])
        if self.expire_days is not None:
            ends = np.maximum(last_days(profiles) + self.expire_days + 1, today + 1)
            first = np.minimum(first, np.where(last_days(profiles) > 0, ends, NEVER))
        return first

    def expired(self, profiles: pa.RecordBatch, stream_time: int) -> Flags:
        """Flag profiles without an event for too long, by the clock of the records.

        `stream_time` is theirs, in milliseconds. A wrong clock of ours must not delete
        anything, so it has no say.
        """
        last = last_days(profiles)
        if self.expire_days is None:
            return np.zeros(len(last), bool)
        flags: Flags = stream_time // DAY_MILLIS - last > self.expire_days
        return flags & (last > 0)

    def entries(
        self, keys: Sequence[bytes], values: Sequence[bytes], latest: int = NEVER
    ) -> list[bytes]:
        """Give the entries of stored profiles.

        One that was written as of a day after `latest` is to be looked at on `latest`:
        the clock that wrote it was wrong.
        """
        profiles = self._codec.decode(values)
        as_of = profiles.column("as_of_day").fill_null(0).to_numpy()
        days = np.where(as_of > latest, latest, self.days(profiles))
        return to_entries(days, keys)

    def settle(self, store: PartitionStore) -> None:
        """Make a store's agenda anew where another configuration has made it."""
        if store.meta(NOTE) != (self._definition if self else None):
            self.make_anew(store)

    def make_anew(self, store: PartitionStore, latest: int = NEVER) -> None:
        """Read all profiles of a store, and write its agenda from them.

        Until it is whole, no note says that any configuration has made it.
        """
        store.note(NOTE, b"")
        store.drop_agenda()
        after = b""
        while self and (page := store.page(after, PAGE)):
            keys, values = zip(*page, strict=True)
            store.commit(Changes(agenda=self.entries(keys, values, latest)))
            after = keys[-1] + b"\0"
        store.note(NOTE, self._definition)


def last_days(profiles: pa.RecordBatch) -> Ints:
    """Give the day of each profile's last event; 0: not known, or it is erased."""
    days = profiles.column("active_day").fill_null(0).to_numpy().astype(np.int64)
    erased = profiles.column("erased_at").fill_null(0).to_numpy()
    return np.where(erased == 0, np.maximum(days, 0), 0)


def to_entries(days: Ints, keys: Sequence[bytes]) -> list[bytes]:
    """Give the entries of keys and days, sorted; none for `NEVER`."""
    rows = np.flatnonzero(days < NEVER)
    whole = np.maximum(days[rows], 0).tolist()
    pairs = zip(whole, rows.tolist(), strict=True)
    return sorted([ENTRY.pack(day, keys[row]) for day, row in pairs])
