"""Event ids seen by a partition, kept for the deduplication horizon.

An id is 128 bits in two halves (uint64): 96 of the event id's hash, and in the lower 32
a hash of what the event says, by which a conflict is told from a repeat. Ids are kept
by time bucket: the bucket of a record is its partition's stream time (the greatest
record timestamp so far) rounded down to an eighth of the horizon, in milliseconds, so
that the stored ids stay good when the horizon is changed. An id counts as seen while
its bucket is at most eight eighths behind, so that the answer depends on the records
alone, never on how they were cut into batches. Before the exact runs of the store
stands a filter in memory: sixteen bits an id, one look for a whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from consumer.profiles.columns import Ints

Hashes: TypeAlias = "NDArray[np.uint64]"
Flags: TypeAlias = "NDArray[np.bool_]"

BUCKETS = 8
SMALLEST_FILTER = 1 << 12
BITS_AN_ID = 16


PAYLOAD_BITS = np.uint64(32)
PAYLOAD = np.uint64(2**32 - 1)


@dataclass(frozen=True, slots=True)
class Ids:
    """Event-id hashes in columns: high and low halves.

    The lower `PAYLOAD_BITS` of the low ones tell two payloads of one id apart.
    """

    high: Hashes
    low: Hashes

    @classmethod
    def of(cls, high: Hashes, low: Hashes, payload: Hashes) -> Ids:
        """Make ids of the halves of their hashes, and a hash of each payload."""
        return cls(high, (low & ~PAYLOAD) | (payload & PAYLOAD))

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.high)

    def where(self, rows: Flags | Ints) -> Ids:
        """Keep some of the ids."""
        return Ids(self.high[rows], self.low[rows])

    def sorted(self) -> Ids:
        """Sort by both halves."""
        return self.where(np.lexsort((self.low, self.high)))

    def to_bytes(self) -> bytes:
        """Pack sixteen bytes an id: all high halves, then all low ones."""
        return self.high.astype("<u8").tobytes() + self.low.astype("<u8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Ids:
        """Unpack, without a copy; the ids live as long as `data`."""
        half = len(data) // 2
        return cls(np.frombuffer(data[:half], "<u8"), np.frombuffer(data[half:], "<u8"))

    @classmethod
    def concat(cls, parts: Iterable[Ids]) -> Ids:
        """Put ids behind each other."""
        listed = list(parts)
        return cls(
            np.concatenate([part.high for part in listed]),
            np.concatenate([part.low for part in listed]),
        )

    def among(self, run: Ids) -> Flags:
        """Flag the ids that a sorted run contains."""
        return self.places(run) >= 0

    def places(self, run: Ids) -> Ints:
        """Find each id in a sorted run, whatever its payload; -1 where it is not."""
        found = np.full(len(self), -1, np.int64)
        if not len(run):
            return found
        place = np.searchsorted(run.high, self.high)
        pending = np.flatnonzero(place < len(run))
        while len(pending):
            at = place[pending]
            alike = run.high[at] == self.high[pending]
            here = alike & _equal(run.low[at], self.low[pending])
            found[pending[here]] = at[here]
            pending = pending[alike & ~here & (at + 1 < len(run))]
            place[pending] += 1
        return found


def _equal(low: Hashes, other: Hashes) -> Flags:
    """Compare what low halves say of the event id."""
    equal: Flags = (low ^ other) <= PAYLOAD
    return equal


class Filter:
    """A Bloom filter whose bits for one id lie in one word; it grows by layers."""

    def __init__(self) -> None:
        """Start empty and small."""
        self._layers: list[NDArray[np.uint64]] = []
        self._room = 0

    def add(self, ids: Ids) -> None:
        """Remember ids."""
        if not len(ids):
            return
        if self._room < len(ids):
            size = max(SMALLEST_FILTER, 4 * len(ids))
            if self._layers:
                size = max(size, 2 * len(self._layers[-1]) * 64 // BITS_AN_ID)
            self._layers.append(np.zeros(size * BITS_AN_ID // 64, np.uint64))
            self._room = size
        self._room -= len(ids)
        layer = self._layers[-1]
        np.bitwise_or.at(layer, _word(ids, len(layer)), masks(ids))

    def may_have(self, ids: Ids, bits: NDArray[np.uint64]) -> Flags:
        """Flag ids that may have been added; `bits` are their `masks`."""
        maybe = np.zeros(len(ids), bool)
        for layer in self._layers:
            maybe |= (layer[_word(ids, len(layer))] & bits) == bits
        return maybe


def masks(ids: Ids) -> NDArray[np.uint64]:
    """Give the bits that each id sets in its word."""
    one, six = np.uint64(1), np.uint64(63)
    bits = np.zeros(len(ids), np.uint64)
    for shift in (0, 6, 12, 18):
        bits |= one << ((ids.high >> np.uint64(shift)) & six)
    return bits


def _word(ids: Ids, words: int) -> Ints:
    spread = (ids.low >> np.uint64(32)) * np.uint64(words)
    return (spread >> np.uint64(32)).astype(np.int64)


def bucket_width(horizon: float) -> int:
    """Give a bucket's width in milliseconds for a horizon in seconds."""
    return max(1, int(horizon * 1000) // BUCKETS)


class SeenIds:
    """What one partition has seen: filters in memory, the runs through `runs_of`."""

    def __init__(self, width: int, runs_of: Callable[[int], Iterable[Ids]]) -> None:
        """Use buckets of `width` milliseconds; `runs_of(bucket)` gives stored runs."""
        self.width = width
        self._runs_of = runs_of
        self._filters: dict[int, Filter] = {}

    def bucket_of(self, stream_times: Ints) -> Ints:
        """Give the buckets of stream times (milliseconds): when each begins."""
        buckets: Ints = stream_times // self.width * self.width
        return buckets

    def oldest(self, stream_time: int) -> int:
        """Give the oldest bucket that still counts at a stream time."""
        return stream_time // self.width * self.width - BUCKETS * self.width

    def remember(self, added: Mapping[int, Ids]) -> None:
        """Note ids by bucket, once the store has them."""
        for bucket, ids in added.items():
            self._filters.setdefault(bucket, Filter()).add(ids)

    def forget(self, before: int) -> None:
        """Drop the buckets below `before`."""
        for bucket in [b for b in self._filters if b < before]:
            del self._filters[bucket]

    def duplicates(
        self, ids: Ids, stream_times: Ints, filed: Ints
    ) -> tuple[Flags, Flags]:
        """Flag ids that repeat a stored or an earlier one of this very batch.

        `stream_times` (milliseconds) go with the ids, in partition order; `filed` are
        the times that they will be remembered under, never earlier ones. The first
        of several equal ids wins. Also flags those of them whose payload is another.
        """
        buckets = self.bucket_of(stream_times)
        seen, other = self._stored(ids, buckets)
        under = self.bucket_of(filed)
        order = np.lexsort((ids.low, ids.high))
        high, low = ids.high[order], ids.low[order]
        same = (high[1:] == high[:-1]) & _equal(low[1:], low[:-1])
        if same.any():
            places = np.flatnonzero(same)
            for row, first in self._within(order, places, buckets, under, seen):
                seen[row], other[row] = True, ids.low[row] != ids.low[first]
        return seen, other

    def _stored(self, ids: Ids, buckets: Ints) -> tuple[Flags, Flags]:
        seen, other = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
        bits = masks(ids)
        for bucket, held in self._filters.items():
            maybe = held.may_have(ids, bits)
            maybe &= (buckets - bucket <= BUCKETS * self.width) & ~seen
            rows = np.flatnonzero(maybe)
            if not len(rows):
                continue
            asked = ids.where(rows)
            for run in self._runs_of(bucket):
                places = asked.places(run)
                found = places >= 0
                seen[rows[found]] = True
                first = run.low[places[found]]
                other[rows[found]] = first != asked.low[found]
        return seen, other

    def _within(
        self, order: Ints, same: Ints, buckets: Ints, under: Ints, seen: Flags
    ) -> Iterator[tuple[int, int]]:
        """Walk the repeated ids of a batch in order; only these, one by one.

        Gives each repeat with the first of its id.
        """
        horizon = BUCKETS * self.width
        groups = np.split(same, np.flatnonzero(np.diff(same) > 1) + 1)
        for group in groups:
            rows = np.sort(order[group[0] : group[-1] + 2])
            first = None
            for row in rows.tolist():
                if seen[row]:
                    continue
                if first is not None and buckets[row] - under[first] <= horizon:
                    yield row, first
                else:
                    first = row
