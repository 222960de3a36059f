"""How long a record waits for a schema that its registry does not know yet.

A producer may be faster than the registration of its schema, so a record of an unknown
id waits until a grace time after its own timestamp; then it is a dead letter. The wait
is bounded: an id that was waited for in vain is not waited for again, and a partition
that did so waits for no other one for an hour. Memory is bounded too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.events.framing import SchemaId

REST_SECONDS: Final = 3_600.0
# Broken records can name any id: so many are kept in mind, the latest.
MOST_IDS: Final = 1_000


class SchemaGrace:
    """Decides for each record of an unknown schema whether it waits."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        """Wait for `seconds`; `now` gives seconds since the epoch."""
        self._seconds = seconds
        self._now = now
        self._began: dict[tuple[int, SchemaId], float] = {}
        self._given_up: dict[SchemaId, float] = {}
        self._rests_until: dict[int, float] = {}

    def holds(self, schema_id: SchemaId, partition: int, timestamp: int) -> bool:
        """Tell whether a record (its timestamp in milliseconds) has to wait."""
        now = self._now()
        if schema_id in self._given_up or self._rests_until.get(partition, 0.0) > now:
            return False
        place = partition, schema_id
        began = self._began.get(place)
        # A timestamp in the future must not make the wait longer.
        since = min(timestamp / 1000, now if began is None else began)
        if since + self._seconds > now:
            self._began.setdefault(place, now)
            _bound(self._began)
            return True
        if began is not None:
            del self._began[place]
            self._given_up[schema_id] = now
            _bound(self._given_up)
            self._rests_until[partition] = now + REST_SECONDS
        return False

    def known(self, schema_id: SchemaId) -> None:
        """Forget an id that turned out to be known: nobody waits for it any more."""
        self._given_up.pop(schema_id, None)
        for place in [one for one in self._began if one[1] == schema_id]:
            del self._began[place]


def _bound(kept: dict[tuple[int, SchemaId], float] | dict[SchemaId, float]) -> None:
    while len(kept) > MOST_IDS:
        del kept[next(iter(kept))]  # type: ignore[arg-type]  # its own key
