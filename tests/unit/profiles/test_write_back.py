"""The cache before a store: what was committed is read, flushed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import PartitionHalt
from consumer.profiles.seen import Ids
from consumer.profiles.store import Changes, PartitionStore, Position, Tails
from consumer.profiles.write_back import FLUSH_BYTES, FLUSH_SECONDS, WriteBackStore
from tests.property.budget import examples
from tests.property.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POSITION = Position("t", 1, 1, 0)
KEYS = [bytes([number]) * 16 for number in range(6)]


def cached(store: MemoryStore | PartitionStore, memory: int = 2_000) -> WriteBackStore:
    """Put a cache before a store."""
    return WriteBackStore(cast("PartitionStore", store), memory=lambda: memory, now=0.0)


def ids(*numbers: int) -> Ids:
    """Make ids."""
    return Ids(np.array(numbers, np.uint64), np.array(numbers, np.uint64))


def held(store: MemoryStore | WriteBackStore, bucket: int) -> list[int]:
    """Give the ids of a bucket."""
    return sorted(n for run in store.runs_of(bucket) for n in run.high.tolist())


@examples(100)
@given(data=st.data())
def test_reads_are_those_of_the_store_itself(data: st.DataObject) -> None:
    """Whatever is flushed or dropped from memory, every read sees every commit."""
    plain, behind = MemoryStore(), MemoryStore()
    front = cached(behind, data.draw(st.sampled_from([0, 150, 300, 600, 10**6])))
    now, oldest = 0.0, 0
    for number in range(data.draw(st.integers(1, 12))):
        keys = data.draw(st.lists(st.sampled_from(KEYS), unique=True))
        left = [key for key in KEYS if key not in keys]
        gone = data.draw(st.just([]) | st.lists(st.sampled_from(left))) if left else []
        bucket = oldest + data.draw(st.integers(0, 2))
        forgotten = plain.chunks_before(oldest)
        changes = Changes(
            profiles=[(key, bytes([number]) * (1 + 9 * number)) for key in keys],
            gone=sorted({*gone}),
            seen={(bucket, number): ids(number, 100 + number)},
            forgotten=forgotten,
            position=Position("t", number, number, 0),
            tails=Tails(number, number),
        )
        now += data.draw(st.sampled_from([0.0, 1.0, FLUSH_SECONDS]))
        plain.commit(changes)
        front.commit(changes, now)
        if forgotten:
            plain.drop_buckets_before(oldest)
            front.drop_buckets_before(oldest)
        asked = data.draw(st.lists(st.sampled_from(KEYS)))
        assert front.get_many(asked) == plain.get_many(asked)
        paged = [key for key, _ in front.page(b"", len(KEYS))]
        assert not {*gone} & {*paged}, "a walk meets what is gone"
        assert (front.position, front.tails) == (plain.position, plain.tails)
        assert front.chunks_before(oldest + 2) == plain.chunks_before(oldest + 2)
        for at in range(oldest, oldest + 3):
            assert held(front, at) == held(plain, at)
        oldest += data.draw(st.integers(0, 1))
    front.flush(now)
    assert list(behind.items()) == list(plain.items())
    assert (behind.position, behind.tails) == (plain.position, plain.tails)


def test_the_disk_follows_within_seconds() -> None:
    """Nothing is written before its time, everything at once then."""
    behind = MemoryStore()
    front = cached(behind, 10**6)
    front.commit(Changes(profiles=[(KEYS[0], b"a")], position=POSITION), 1.0)
    assert (behind.count(), behind.position) == (0, None)
    front.commit(Changes(profiles=[(KEYS[1], b"b")]), FLUSH_SECONDS)
    assert (behind.count(), behind.position) == (2, POSITION)


def test_what_is_abandoned_is_as_of_the_last_flush() -> None:
    """And its position with it: the restore goes on from there."""
    behind = MemoryStore()
    front = cached(behind, 10**6)
    front.commit(Changes(profiles=[(KEYS[0], b"a")], position=POSITION), FLUSH_SECONDS)
    front.commit(Changes(profiles=[(KEYS[1], b"b")], position=POSITION), FLUSH_SECONDS)
    front.abandon()
    assert (behind.count(), behind.position) == (1, POSITION)


def test_what_is_all_in_memory_is_not_looked_for_on_disk() -> None:
    """A store that began empty is read only once something was forgotten."""

    class Asked(MemoryStore):
        count_asked = 0

        def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
            self.count_asked += len(keys)
            return super().get_many(keys)

    behind = Asked()
    front = cached(behind, 1_000)
    front.commit(Changes(profiles=[(KEYS[0], b"a"), (KEYS[2], b"c")]), 1.0)
    front.commit(Changes(gone=[KEYS[2]]), 2.0)
    assert front.get_many(KEYS[:3]) == [b"a", None, None]
    assert behind.count_asked == 0
    front.commit(Changes(profiles=[(KEYS[1], bytes(2_000))]), 3.0)
    assert front.get_many(KEYS[:3]) == [b"a", bytes(2_000), None]
    assert behind.count_asked == 3
    assert cached(behind).get_many(KEYS[:1]) == [b"a"]


def test_a_disk_that_refuses_changes_nothing_in_memory() -> None:
    """What could not be written is read as before, and written once there is room."""

    class Full(MemoryStore):
        refuses = True

        def commit(self, changes: Changes) -> None:
            if self.refuses:
                raise PartitionHalt("store_write_failed", "Free disk space.")
            super().commit(changes)

    behind = Full()
    front = cached(behind, 300)
    big = bytes(1_000)
    for changes in (
        Changes(profiles=[(KEYS[0], big)]),
        Changes(profiles=[(KEYS[1], big), (KEYS[2], b"c")], position=POSITION),
        Changes(gone=[KEYS[2]]),
    ):
        with pytest.raises(PartitionHalt):
            front.commit(changes, 1.0)
    assert front.get_many(KEYS[:3]) == [big, big, None]
    behind.refuses = False
    front.flush(2.0)
    assert list(behind.items()) == [(KEYS[0], big), (KEYS[1], big)]
    assert behind.position == POSITION


def test_a_flush_comes_before_it_would_be_large() -> None:
    """Small as they are, no more profiles wait than memory allows a flush to write."""
    behind = MemoryStore()
    front = cached(behind, 4 * FLUSH_BYTES)
    for number in range(4):
        front.commit(Changes(profiles=[(KEYS[number], b"a")]), 1.0)
    assert behind.count() == 0
    front.commit(Changes(profiles=[(KEYS[4], b"a")]), 1.0)
    assert behind.count() == 5


@pytest.mark.parametrize("clean", [True, False])
def test_the_position_on_disk_is_that_of_its_profiles(
    tmp_path: Path,
    clean: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Closed or crashed, a store has the profiles up to its position, none beyond."""
    store = PartitionStore(tmp_path)
    front = cached(store, 10**6)
    for number in range(3):
        changes = Changes(
            profiles=[(KEYS[0], bytes([number]))],
            position=Position("t", number, number, 0),
            tails=Tails(number, number),
        )
        front.commit(changes, FLUSH_SECONDS + number)
    if clean:
        front.close(FLUSH_SECONDS + 5)
    else:
        store.close()
    with PartitionStore(tmp_path) as again:
        (value,) = again.get_many([KEYS[0]])
        assert again.position is not None
        assert value == bytes([again.position.next_offset])
        assert again.tails.profiles == again.position.next_offset
        assert again.position.next_offset == (2 if clean else 0)
