"""A partition's store with a bounded write-back cache before it.

What Kafka has committed enters the cache at once and LMDB some seconds later, many
commits in one: a visitor who buys often is written once, and hot profiles are read
from memory. The topics stay the truth: a crash loses what was not flushed from the
disk only, and the restore reads that tail again, at most `FLUSH_SECONDS` of commits.

The cache is one table in flat memory. When that is full, gaps in it are closed; where
this gives little, what was written longest ago is forgotten. What is not flushed is
never forgotten, and flushed before it is more than two thirds of the memory, or more
profiles than a flush may write at once.
"""

from __future__ import annotations

import time
from itertools import chain, compress
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.profiles.buffer import Buffer
from consumer.profiles.seen import SeenIds, bucket_width
from consumer.profiles.store import Changes
from consumer.profiles.table import Found, Keys, Pairs, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.profiles.agenda import Agenda
    from consumer.profiles.seen import Ids
    from consumer.profiles.store import PartitionStore, Position, Tails

FLUSH_SECONDS: Final = 10.0
# A flush takes a page of LMDB's, and maps another, for nearly every profile: several
# times the memory that the cache may use, for as long as it lasts.
FLUSH_BYTES: Final = 1_000
# A process that was silent for so long may have lost what it takes for its own.
FROZEN_SECONDS: Final = 600.0

Chunk = tuple[int, int]


class WriteBackStore:
    """One partition's profiles, ids and positions; reads see every commit at once."""

    def __init__(
        self, store: PartitionStore, *, memory: Callable[[], int], now: float
    ) -> None:
        """Keep up to about `memory()` bytes of profiles, which may change any time.

        The store has all that its topics hold. Times, here and below, are seconds on a
        monotonic clock.
        """
        self._store = store
        self._memory = memory
        self._table = Table()
        # Whether the cache has all that the store has: then nothing is read.
        self._whole = store.count() == 0
        self._gone: list[bytes] = []
        self._seen: dict[Chunk, Ids] = {}
        self._forgotten: list[Chunk] = []
        self._agenda: set[bytes] = set()
        self._settled: set[bytes] = set()
        self._suppressed: dict[bytes, int | None] = {}
        self._position = store.position
        self._tails = store.tails
        self._flushed_at = now
        self._followed = time.time()

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
        return [record or None for record in self.gather(Keys.of(keys), b"").to_list()]

    def gather(self, keys: Keys, absent: bytes) -> Found:
        """Find profiles by key, `absent` where there is none; good until a commit."""
        rows, sizes = self._table.find(keys)
        rest = np.flatnonzero(rows < 0)
        stored: list[bytes | None] = [None] * len(rest)
        if len(rest) and not self._whole:
            stored = self._store.get_many(keys[rest].to_list())
        beside = Buffer.of([absent if one is None else one for one in stored])
        sizes[rest] = beside.sizes
        return Found(self._table, rows, sizes, rest, beside)

    def page(self, first: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """List profiles that are flushed by key; newer ones may wait to be."""
        return self._store.page(first, most)

    def follow(self) -> None:
        """Note that the owner is alive, and so that nobody else writes; call it often.

        Who was frozen does not know: only its next commit tells.
        """
        now = time.time()
        if now - self._followed < FROZEN_SECONDS:
            self._followed = now

    def commit(self, changes: Changes, now: float) -> None:
        """Take one transaction's changes; flush what waits for long, or is much.

        What is gone is flushed at once: the cache knows no absence, and the disk would
        give the profile back.
        """
        self._followed = time.time()
        if changes.profiles:
            self._table.put(Pairs.of(changes.profiles))
        if changes.gone:
            self._table.remove(Keys.of(changes.gone))
            self._gone += changes.gone
        self._seen.update((chunk, ids.sorted()) for chunk, ids in changes.seen.items())
        self._forgotten += changes.forgotten
        self._settled.update(changes.settled)
        self._agenda.difference_update(changes.settled)
        self._agenda.update(changes.agenda)
        self._suppressed.update(changes.suppressed)
        self._position = changes.position or self._position
        self._tails = changes.tails or self._tails
        memory = self._memory()
        much = self._table.unwritten > memory * 2 // 3
        many = self._table.waiting > memory // FLUSH_BYTES
        if much or many or changes.gone or now - self._flushed_at >= FLUSH_SECONDS:
            self.flush(now)
        if self._table.nbytes > memory:
            self._whole &= not self._table.shrink(memory)

    def flush(self, now: float) -> None:
        """Write to disk what is only in memory.

        Raises `PartitionHalt` where the disk refuses.
        """
        back = self._table.find(Keys.of(self._gone))[0] >= 0
        self._store.commit(
            Changes(
                profiles=self._table.dirty(),
                gone=list(compress(self._gone, ~back)),
                seen=self._seen,
                forgotten=self._forgotten,
                agenda=sorted(self._agenda),
                settled=sorted(self._settled),
                suppressed=self._suppressed,
                position=self._position,
                tails=self._tails,
                followed=self._followed,
            )
        )
        self._table.clean()
        self._gone, self._seen, self._forgotten = [], {}, []
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

    def abandon(self) -> None:
        """Close as of the last flush."""
        self._store.close()

    def close(self, now: float) -> None:
        """Flush and close."""
        try:
            self.flush(now)
        finally:
            self._store.close()


def ids_seen(store: WriteBackStore, horizon: float, stream_time: int) -> SeenIds | None:
    """Give the event ids of a store that count at a stream time; None for no horizon.

    What left the horizon (in seconds) is dropped from the store.
    """
    if horizon == 0:
        return None
    seen = SeenIds(bucket_width(horizon), store.runs_of)
    store.drop_buckets_before(seen.oldest(stream_time))
    for bucket in store.buckets():
        for run in store.runs_of(bucket):
            seen.remember({bucket: run})
    return seen
