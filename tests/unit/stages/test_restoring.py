"""A partition being restored: what is read waits, and enters the store in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.profiles.fold import packed_hashes
from consumer.profiles.state_records import to_records
from consumer.profiles.store import PartitionStore, Position, Tails
from consumer.stages.lifecycle import Restoring

if TYPE_CHECKING:
    from pathlib import Path


def _no_agenda(_: list[tuple[bytes, bytes]]) -> list[bytes]:
    return []


def _key(visitor: bytes) -> bytes:
    (key,) = packed_hashes([visitor])
    return key


def test_the_latest_profile_of_each_visitor_enters_the_store(tmp_path: Path) -> None:
    """Over parts, with tombstones, and with the offsets that all of it goes up to."""
    with PartitionStore(tmp_path / "store") as store:
        one = Restoring(0, store, None, 0.0, Tails())
        visitors = [b"visitor-%d" % n for n in range(50)]
        one.take(visitors, [b"old"] * 50)
        one.take(visitors[:10], [b"new"] * 9 + [None])
        one.tails = Tails(60, 0)
        one.write(_no_agenda)
        assert store.tails == Tails(60, 0)
        assert one.size == 0

        one.take([visitors[20], visitors[21]], [b"newest", None])
        position = Position("topic", 7, 8, 1)
        records = to_records(position, {}, [])
        one.take_state([k for k, _ in records], [v for _, v in records])
        one.tails = Tails(62, 1)
        one.write(_no_agenda)

        assert one.records == 50 + 10 + 2 + 1
        assert store.position == position
        assert store.tails == Tails(62, 1)
        found = store.get_many([_key(visitor) for visitor in visitors])
        assert found[:9] == [b"new"] * 9
        assert found[9] is None
        assert found[20:23] == [b"newest", None, b"old"]
        assert store.count() == 48


def test_what_waits_counts_what_it_holds(tmp_path: Path) -> None:
    """So that memory is bounded by writing in time."""
    with PartitionStore(tmp_path / "store") as store:
        one = Restoring(0, store, None, 0.0, Tails())
        one.take([b"a", b"b"], [b"x" * 1_000, None])

        assert one.size > 1_000
        assert store.count() == 0  # a partition lost now leaves the store as it was
        assert store.tails == Tails()
