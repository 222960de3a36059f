"""The store of one partition: one contract, on disk and for the fake in memory."""

from __future__ import annotations

import signal
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from consumer.errors import PartitionHalt
from consumer.profiles.directory import StateDirectory
from consumer.profiles.seen import Ids
from consumer.profiles.store import (
    RUN,
    RUNS_A_TIER,
    SMALLEST_MAP,
    Changes,
    PartitionStore,
    Position,
    Tails,
    mapped_bytes,
)
from tests.property.memory_store import MemoryStore
from tests.unit.disk import full_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Store = PartitionStore | MemoryStore


@pytest.fixture(params=["lmdb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give an empty store of each kind."""
    made: Store = (
        PartitionStore(tmp_path / "p") if request.param == "lmdb" else MemoryStore()
    )
    yield made
    made.close()


POSITION = Position("topic", 5, 7, 2)


def ids(*numbers: int) -> Ids:
    """Make ids."""
    return Ids(np.array(numbers, np.uint64), np.array(numbers, np.uint64) + 1)


def key(number: int) -> bytes:
    """Make a profile's key."""
    return number.to_bytes(16, "big")


def held(store: Store, bucket: int) -> list[list[int]]:
    """Give the ids of a bucket's runs."""
    return [run.high.tolist() for run in store.runs_of(bucket)]


def test_profiles_come_back_in_the_order_asked(store: Store) -> None:
    """Keys in any order, unknown ones and repeats are answered one by one."""
    store.commit(Changes(profiles=[(key(3), b"c"), (key(1), b"a")]))
    asked = [key(1), key(2), key(3), key(1)]
    assert store.get_many(asked) == [b"a", None, b"c", b"a"]
    assert store.get_many([]) == []
    assert list(store.items()) == [(key(1), b"a"), (key(3), b"c")]


def test_a_commit_replaces_and_removes(store: Store) -> None:
    """The newest value stays; what is gone is gone; the unknown may be gone too."""
    store.commit(Changes(profiles=[(key(1), b"a"), (key(2), b"b")]))
    store.commit(Changes(profiles=[(key(1), b"new")], gone=[key(2), key(9)]))
    assert list(store.items()) == [(key(1), b"new")]
    assert store.count() == 1


def test_position_and_tails_stay_where_a_commit_names_none(store: Store) -> None:
    """A commit without a position leaves the one there is."""
    assert (store.position, store.tails) == (None, Tails(0, 0))
    store.commit(Changes(position=POSITION, tails=Tails(3, 4)))
    store.commit(Changes(profiles=[(key(1), b"a")]))
    assert (store.position, store.tails) == (POSITION, Tails(3, 4))


def test_notes_are_kept(store: Store) -> None:
    """A note is read back; an unknown one is None."""
    store.note("topic", b"id")
    assert (store.meta("topic"), store.meta("other")) == (b"id", None)


def test_a_chunk_of_ids_counts_once(store: Store) -> None:
    """The same chunk read twice from the topic is one run."""
    for _ in range(2):
        store.commit(Changes(seen={(7, 100): ids(3, 1, 2)}))
    assert held(store, 7) == [[1, 2, 3]]
    assert held(store, 8) == []
    assert store.buckets() == [7]


def test_old_chunks_are_listed_until_forgotten(store: Store) -> None:
    """Chunks below a bucket are listed in order, and no more once forgotten."""
    chunks = [(1, 5), (1, 300), (2, 9), (3, 1)]
    store.commit(Changes(seen={chunk: ids(chunk[1]) for chunk in chunks}))
    assert store.chunks_before(3) == chunks[:3]
    assert store.chunks_before(-1) == []
    store.commit(Changes(forgotten=[*chunks[:2], (0, 0)]))
    assert store.chunks_before(3) == [(2, 9)]


def test_dropped_buckets_are_gone_and_others_stay(store: Store) -> None:
    """Runs below a bucket go, those of it and above stay."""
    store.commit(Changes(seen={(b, 0): ids(b) for b in (1, 2, 300)}))
    store.drop_buckets_before(2)
    assert store.buckets() == [2, 300]
    assert held(store, 300) == [[300]]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65])
def test_no_id_is_lost_while_runs_merge(store: Store, count: int) -> None:
    """After any number of commits a bucket's runs hold each id once, sorted."""
    for number in range(count):
        store.commit(Changes(seen={(5, number): ids(2 * number, 10_000 - number)}))
    runs = held(store, 5)
    expected = [n for i in range(count) for n in (2 * i, 10_000 - i)]
    assert sorted(n for run in runs for n in run) == sorted(expected)
    assert all(run == sorted(run) for run in runs)


def test_eight_runs_make_one(tmp_path: Path) -> None:
    """Runs merge in tiers of eight, so that a bucket never has many."""
    with PartitionStore(tmp_path) as store:
        for number in range(RUNS_A_TIER**2 + 1):
            store.commit(Changes(seen={(5, number): ids(number)}))
        with store._env.begin(db=store._runs) as txn:
            tiers = [RUN.unpack(one)[1] for one, _ in txn.cursor()]
    assert tiers == [0, 2]


def test_everything_survives_a_reopen(tmp_path: Path) -> None:
    """A closed store opens with all that was committed, and goes on."""
    position = Position("topic", 5, 7, 2)
    with PartitionStore(tmp_path) as store:
        changes = Changes(
            profiles=[(key(1), b"a")],
            seen={(5, 1): ids(1)},
            position=position,
            tails=Tails(1, 2),
        )
        store.commit(changes)
    with PartitionStore(tmp_path) as store:
        store.commit(Changes(seen={(5, 2): ids(2)}))
        assert store.get_many([key(1)]) == [b"a"]
        assert (store.position, store.tails) == (position, Tails(1, 2))
        assert sorted(held(store, 5)) == [[1], [2]]
        assert store.chunks_before(6) == [(5, 1), (5, 2)]


@pytest.mark.parametrize("seed", range(8))
def test_what_was_written_and_deleted_at_once_damages_nothing(
    tmp_path: Path, seed: int
) -> None:
    """LMDB counts pages at its file's end that it never wrote; the store opens."""
    random = Random(seed)
    for _ in range(12):
        with PartitionStore(tmp_path) as store:
            for _ in range(3):
                some = [key(random.randrange(300)) for _ in range(90)]
                size = random.choice((50, 900, 3_000, 9_000))
                written = [(one, bytes(size)) for one in some[:60]]
                store.commit(Changes(profiles=written, gone=some[30:]))


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    """More than the map's size fits in one commit, and opens again."""
    value = bytes(1 << 20)
    profiles = [(key(number), value) for number in range(SMALLEST_MAP // 2**20 + 8)]
    with PartitionStore(tmp_path) as store:
        store.commit(Changes(profiles=profiles, position=Position("t", 1, 1, 1)))
        assert store.count() == len(profiles)
    with PartitionStore(tmp_path) as store:
        assert store.get_many([profiles[-1][0]]) == [value]


def test_a_folder_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    """A file where the folder should be ends in one sentence with the remedy."""
    (tmp_path / "p").write_text("in the way")
    with pytest.raises(PartitionHalt, match="state_dir writable"):
        PartitionStore(tmp_path / "p")


@pytest.mark.parametrize("room", [0, 4_096, 8_192, 16_384])
def test_a_store_that_finds_no_room_halts_its_partition(
    tmp_path: Path, room: int
) -> None:
    """Wherever on its way it is refused; with room again it opens."""
    with StateDirectory(tmp_path, "shop") as directory:
        with full_disk(room), pytest.raises(PartitionHalt) as caught:
            directory.open(0)
        assert caught.value.reason == "store_write_failed"
        with directory.open(0) as store:
            assert store.count() == 0


WRITER = """
import sys
from pathlib import Path
from consumer.profiles.store import Changes, PartitionStore, Position, Tails
store = PartitionStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    value = str(number).encode().rjust(400)
    pairs = [(one.to_bytes(16, "big"), value) for one in range(2000)]
    position = Position("topic", number, number, 1)
    store.commit(Changes(profiles=pairs, position=position, tails=Tails(number, 0)))
    print(number, flush=True)
"""


def test_a_store_killed_while_it_writes_opens_with_a_whole_commit(
    tmp_path: Path,
) -> None:
    """After SIGKILL every profile is of the position's commit, none newer or torn."""
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(4)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest = process.stdout.read().split()
        process.stdout.close()
        told += [int(line) for line in rest]
        with PartitionStore(tmp_path) as store:
            position = store.position
            assert position is not None
            assert position.next_offset in {told[-1], told[-1] + 1}
            assert store.tails == Tails(position.next_offset, 0)
            values = {int(value) for _, value in store.items()}
            assert values == {position.next_offset}
            assert store.count() == 2000


def test_the_agenda_is_listed_in_order(store: Store) -> None:
    """Entries are kept once, listed by ranges, and gone when they are settled."""
    entries = [key(number) for number in (3, 1, 2)]
    store.commit(Changes(agenda=sorted(entries)))
    store.commit(Changes(agenda=[key(2)]))
    assert store.agenda(b"", key(9), 10) == sorted(entries)
    assert store.agenda(key(1) + b"\0", key(3), 10) == [key(2)]
    assert store.agenda(b"", key(9), 2) == [key(1), key(2)]
    store.commit(Changes(agenda=[key(4), key(5)], settled=[key(1), key(4), key(7)]))
    assert store.agenda(b"", key(9), 10) == [key(2), key(3), key(4), key(5)]
    store.drop_agenda()
    assert store.agenda(b"", key(9), 10) == []


def test_profiles_are_listed_page_by_page(store: Store) -> None:
    """A page begins where the one before it ended."""
    pairs = [(key(number), bytes([number])) for number in range(5)]
    store.commit(Changes(profiles=pairs))
    assert store.page(b"", 3) == pairs[:3]
    assert store.page(key(2) + b"\0", 3) == pairs[3:]
    assert store.page(key(4) + b"\0", 3) == []


@pytest.mark.skipif(not mapped_bytes(), reason="the system does not say what is mapped")
def test_a_store_lets_its_pages_go_beyond_its_share(tmp_path: Path) -> None:
    """However much of a store is read, the process keeps no more of it mapped."""
    keys = [number.to_bytes(16, "big") for number in range(60_000)]
    profiles = [(key, key * 32) for key in keys]
    with PartitionStore(tmp_path / "p") as free:
        free.commit(Changes(profiles=profiles))
        before = mapped_bytes()
        assert free.get_many(keys) == [value for _, value in profiles]
        grown = mapped_bytes() - before
    assert grown > 20_000_000
    with PartitionStore(tmp_path / "p", mapped=mapped_bytes() + 4_000_000) as bound:
        before = mapped_bytes()
        assert bound.get_many(keys) == [value for _, value in profiles]
        assert mapped_bytes() - before < grown // 2
        bound.commit(Changes(profiles=profiles[::2]))
        bound.commit(Changes(profiles=[(b"k" * 16, b"after")]))
        assert mapped_bytes() - before < grown // 2
        assert bound.get_many([b"k" * 16, keys[7]]) == [b"after", keys[7] * 32]
