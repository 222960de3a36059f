"""When a day has passed: which partitions have which day, and whose turn it is.

A day's entries of the agenda are spread over `tick_over` from midnight on, by the
visitors' hashes, and each call takes a bounded number. Nothing is remembered but in the
agenda itself, which is made from the profiles: after a crash or a rebalance the tick
goes on where the profiles are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from consumer.errors import PartitionHalt
from consumer.profiles.agenda import ENTRY
from consumer.profiles.days import begins_at, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from consumer.clock import Clock
    from consumer.stages.batch import OpenPartition, PartitionOutput
    from consumer.stages.tick import Tick

log = structlog.get_logger(__name__)

MOST: Final = 2_000
"""Profiles a transaction: tens of milliseconds, which live traffic may wait for."""
LOOK_SECONDS: Final = 1.0
HASHES: Final = 2**128


@dataclass(slots=True)
class _Round:
    """How far the entries of each day have been taken, in one partition."""

    partition: OpenPartition
    day: int
    taken: dict[int, bytes] = field(default_factory=dict)
    rests_until: float = 0.0


class Daily:
    """Gives partitions their day and takes what is due. Used by one thread only."""

    def __init__(
        self,
        tick: Tick,
        clock: Clock,
        *,
        zone: str,
        spread: float,
        begin_anew: Callable[[OpenPartition], None],
    ) -> None:
        """Spread a day's work over `spread` seconds.

        `begin_anew` makes a partition's agenda anew, for a day that came back.
        """
        self._tick = tick
        self._clock = clock
        self._zone = zone
        self._spread = spread
        self._begin_anew = begin_anew
        self._rounds: dict[int, _Round] = {}
        self._today = 0
        self._begins = self._ends = 0.0

    def begin(self, generation: int) -> None:
        """Write profiles of another generation from now on."""
        self._tick.begin(generation)

    def give_days(
        self, partitions: Iterable[OpenPartition]
    ) -> dict[int, PartitionHalt]:
        """Tell partitions what day it is; give those that must halt."""
        halts: dict[int, PartitionHalt] = {}
        now = self._clock.now()
        if not self._begins <= now < self._ends:
            self._today = day_of(now, self._zone)
            self._begins = begins_at(self._today, self._zone)
            self._ends = begins_at(self._today + 1, self._zone)
        for one in partitions:
            was = one.day or one.position.day
            one.day = day_to_take(was, self._today)
            if one.day < was:
                log.warning(
                    "the clock has gone back: windows are rendered as of the day it "
                    "shows now",
                    partition=one.number,
                    days=was - one.day,
                )
                try:
                    self._begin_anew(one)
                except PartitionHalt as halt:
                    halts[one.number] = halt
        return halts

    def due(
        self, partitions: Mapping[int, OpenPartition]
    ) -> tuple[dict[int, PartitionOutput], dict[int, PartitionHalt]]:
        """Work what is due now, at most `MOST` profiles of all partitions together.

        Also gives the partitions that must halt.
        """
        outputs: dict[int, PartitionOutput] = {}
        halts: dict[int, PartitionHalt] = {}
        left = MOST
        for number, partition in partitions.items():
            if partition.joining is not None:
                continue  # what a rebuild has computed comes first
            try:
                entries = self._next(partition, left)
                if entries:
                    outputs[number] = self._tick.work(partition, entries)
                    left -= len(entries)
            except PartitionHalt as halt:
                halts[number] = halt
        return outputs, halts

    def _next(self, partition: OpenPartition, most: int) -> list[bytes]:
        """List the entries of one partition whose turn it is."""
        now = self._clock.monotonic()
        turn = self._rounds.get(partition.number)
        if turn is None or turn.partition is not partition or turn.day != partition.day:
            turn = self._rounds[partition.number] = _Round(partition, partition.day)
            partition.store.flush(now)  # what is only in memory is not listed
        if not most or now < turn.rests_until:
            return []
        passed = max(0.0, self._clock.now() - begins_at(turn.day, self._zone))
        found = self._entries(turn, min(1.0, passed / self._spread), most)
        if not found:
            turn.rests_until = now + LOOK_SECONDS
        return found

    def _entries(self, turn: _Round, share: float, most: int) -> list[bytes]:
        """List entries whose hash is within `share` of all, of each day up to today."""
        agenda = turn.partition.store.agenda
        limit = int(share * HASHES).to_bytes(17, "big")
        found: list[bytes] = []
        first, tomorrow = b"", ENTRY.pack(turn.day + 1, b"")
        while len(found) < most and (head := agenda(first, tomorrow, 1)):
            day = ENTRY.unpack(head[0])[0]
            beyond = ENTRY.pack(day, limit[1:]) if limit[0] == 0 else None
            begin = max(first, turn.taken.get(day, b""))
            first = ENTRY.pack(day + 1, b"")
            part = agenda(begin, beyond or first, most - len(found))
            if part:
                turn.taken[day] = part[-1] + b"\0"
                found += part
        return found


def day_to_take(was: int, clock: int) -> int:
    """Choose a partition's day: the clock's, or the last one if it is one ahead.

    Two replicas' clocks differ by seconds around midnight; a day that came and went
    and came again would be three uploads. A clock that is further back was wrong
    before, or is now: then the day follows it.
    """
    return was if was == clock + 1 else clock
