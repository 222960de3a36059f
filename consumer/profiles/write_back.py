"""A partition's store with a bounded write-back cache before it.

What Kafka has committed enters the cache at once and LMDB some seconds later, many
commits in one: a visitor who buys often is written once, and hot profiles are read
from memory. The topics stay the truth: a crash loses what was not flushed from the
disk only, and the restore reads that tail again, at most `FLUSH_SECONDS` of commits.

The cache has two generations. What is used moves to the young one; when that is full,
it becomes the old one and the old one is dropped. Only the young one can hold what is
not flushed, so it is flushed before it grows old.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from consumer.profiles.store import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.profiles.agenda import Agenda
    from consumer.profiles.seen import Ids
    from consumer.profiles.store import PartitionStore, Position, Tails

FLUSH_SECONDS: Final = 10.0
# What Python adds to the bytes of a key and a value, in objects and in the dict.
ENTRY_OVERHEAD: Final = 200

Chunk = tuple[int, int]


class WriteBackStore:
    """One partition's profiles, ids and positions; reads see every commit at once."""

    def __init__(
        self, store: PartitionStore, *, memory: Callable[[], int], now: float
    ) -> None:
        """Keep up to about `memory()` bytes of profiles, which may change any time.

        Times, here and below, are seconds on a monotonic clock.
        """
        self._store = store
        self._memory = memory
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._entry_size = ENTRY_OVERHEAD
        self._dirty: set[bytes] = set()
        self._gone: list[bytes] = []
        self._seen: dict[Chunk, Ids] = {}
        self._forgotten: list[Chunk] = []
        self._agenda: set[bytes] = set()
        self._settled: set[bytes] = set()
        self._suppressed: dict[bytes, int | None] = {}
        self._position = store.position
        self._tails = store.tails
        self._flushed_at = now

    @property
    def position(self) -> Position | None:
        """Where the input goes on."""
        return self._position

    @property
    def tails(self) -> Tails:
        """Where a restore would go on, were everything flushed."""
        return self._tails

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read profiles by key, None where there is none."""
        young, old = self._young, self._old
        found = list(map(young.get, keys))
        missing = [row for row, value in enumerate(found) if value is None]
        if not missing:
            return found
        absent = []
        for row in missing:
            value = old.get(keys[row])
            if value is None:
                absent.append(row)
            else:
                found[row] = young[keys[row]] = value
        read = self._store.get_many([keys[row] for row in absent])
        for row, value in zip(absent, read, strict=True):
            if value is not None:
                found[row] = young[keys[row]] = value
        return found

    def commit(self, changes: Changes, now: float) -> None:
        """Take one transaction's changes; flush if the last flush is long ago."""
        if changes.profiles:
            self._young.update(changes.profiles)
            self._dirty.update([key for key, _ in changes.profiles])
            size = sum([len(value) for _, value in changes.profiles])
            self._entry_size = ENTRY_OVERHEAD + size // len(changes.profiles)
        for key in changes.gone:
            self._young.pop(key, None)
            self._old.pop(key, None)
            self._dirty.discard(key)
            self._gone.append(key)
        self._seen.update((chunk, ids.sorted()) for chunk, ids in changes.seen.items())
        self._forgotten += changes.forgotten
        self._settled.update(changes.settled)
        self._agenda.difference_update(changes.settled)
        self._agenda.update(changes.agenda)
        self._suppressed.update(changes.suppressed)
        self._position = changes.position or self._position
        self._tails = changes.tails or self._tails
        if len(self._young) * self._entry_size > self._memory() // 2:
            self.flush(now)
            self._old, self._young = self._young, {}
        elif now - self._flushed_at >= FLUSH_SECONDS:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Write to disk what is only in memory.

        Raises `PartitionHalt` where the disk refuses.
        """
        young = self._young
        self._store.commit(
            Changes(
                profiles=[(key, young[key]) for key in sorted(self._dirty)],
                gone=[key for key in self._gone if key not in young],
                seen=self._seen,
                forgotten=self._forgotten,
                agenda=sorted(self._agenda),
                settled=sorted(self._settled),
                suppressed=self._suppressed,
                position=self._position,
                tails=self._tails,
            )
        )
        self._dirty, self._gone, self._seen, self._forgotten = set(), [], {}, []
        self._agenda, self._settled, self._suppressed = set(), set(), {}
        self._flushed_at = now

    def runs_of(self, bucket: int) -> Iterator[Ids]:
        """Give the sorted runs of ids of one bucket, flushed or not."""
        waiting = (ids for (at, _), ids in self._seen.items() if at == bucket)
        return chain(waiting, self._store.runs_of(bucket))

    def buckets(self) -> list[int]:
        """List the buckets that have ids."""
        waiting = {bucket for bucket, _ in self._seen}
        return sorted({*self._store.buckets(), *waiting})

    def chunks_before(self, bucket: int) -> list[Chunk]:
        """List the state topic's chunks of ids of buckets below `bucket`."""
        gone = {*self._forgotten}
        waiting = [chunk for chunk in self._seen if chunk[0] < bucket]
        listed = {*self._store.chunks_before(bucket), *waiting}
        return sorted(listed - gone)

    def begin_agenda_anew(self, agenda: Agenda, latest: int, now: float) -> None:
        """Make the agenda anew from all profiles; see `Agenda.entries` for `latest`."""
        self.flush(now)
        agenda.make_anew(self._store, latest)

    def agenda(self, first: bytes, beyond: bytes, most: int) -> list[bytes]:
        """List entries of the agenda that are flushed, settled ones among them."""
        return self._store.agenda(first, beyond, most)

    def drop_buckets_before(self, bucket: int) -> None:
        """Delete the runs of buckets that left the horizon."""
        self._store.drop_buckets_before(bucket)

    def close(self, now: float) -> None:
        """Flush and close."""
        try:
            self.flush(now)
        finally:
            self._store.close()
