"""The day on which each profile is next looked at, though nothing is bought.

A window slides when its oldest day leaves it. A profile's own record says when that is:
the agenda is made from nothing else, so that it can always be made anew. Pure.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from consumer.plan.compile import Plan
    from consumer.profiles.columns import Ints

NEVER: Final = 2**31 - 1
ENTRY: Final = struct.Struct(">I16s")


class Agenda:
    """Reads from profiles on which days they change by themselves."""

    def __init__(self, plan: Plan) -> None:
        """Watch the attributes that have a window."""
        self._windows = [
            (one.name, one.window, windowed(aggregate_for(one)), aggregate_for(one))
            for one in plan.attributes
            if one.window is not None
        ]
        self.zone = plan.zone
        self.definition = repr([(name, days) for name, days, _, _ in self._windows])

    def __bool__(self) -> bool:
        """Tell whether any profile ever changes by itself."""
        return bool(self._windows)

    def days(self, profiles: pa.RecordBatch) -> Ints:
        """Give the first day after its `as_of_day` on which each profile changes.

        `NEVER` where that is none.
        """
        as_of = profiles.column("as_of_day").fill_null(0).to_numpy().astype(np.int64)
        first = np.full(len(as_of), NEVER, np.int64)
        for name, window, aggregate, reader in self._windows:
            state = reader.from_arrow(profiles.column(name))
            slots, days = aggregate.days(state)
            leaves = days + window
            slides = leaves > as_of[slots]
            np.minimum.at(first, slots[slides], leaves[slides])
        return first


def entries(days: Ints, keys: Sequence[bytes]) -> list[bytes]:
    """Give the agenda's entries, sorted by day and key; none for `NEVER`."""
    rows = np.flatnonzero(days < NEVER)
    whole = np.maximum(days[rows], 0).tolist()
    pack = ENTRY.pack
    return [pack(day, keys[row]) for day, row in zip(whole, rows.tolist(), strict=True)]
