"""A store that comes back after tombstones may have been compacted away."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from consumer.config import Settings
from consumer.kafka.topics import Cluster, TopicState
from consumer.profiles import write_back
from consumer.profiles.directory import StateDirectory
from consumer.profiles.store import Changes, PartitionStore, Position, Tails
from consumer.profiles.write_back import FROZEN_SECONDS, WriteBackStore
from consumer.stages import away as module
from consumer.stages.lifecycle import Partitions

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.profiles.agenda import Agenda

DAY = 86_400.0
START = 1_800_000_000.0
KEY = bytes(16)
KEPT = {"pos-consumer.profiles": 10 * DAY, "pos-consumer.state": 8 * DAY}


class Log:
    """Our topics: they end behind every tail, and notes what is read from where."""

    def __init__(self) -> None:
        self.added: dict[tuple[str, int], int] = {}

    def ends(self, places: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Give an end behind all."""
        return dict.fromkeys(places, 1_000)

    def add(self, places: dict[tuple[str, int], int]) -> None:
        """Note what is to be read."""
        self.added |= places


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Set the wall clock; it stands until it is set again."""
    clock = SimpleNamespace(now=START)
    for one in (module, write_back):
        monkeypatch.setattr(one, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


def partitions(directory: StateDirectory, log: Log) -> Partitions:
    """Join the parts of a replica that was just started."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases"},
            "target": {"client": "acme"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    topics = settings.topics
    names = [topics.purchases, topics.profiles, topics.state]
    cluster = Cluster(
        {name: f"id of {name}" for name in names}, dict.fromkeys(names, 4), {}, KEPT
    )
    gauge = SimpleNamespace(
        labels=lambda *_: SimpleNamespace(set=lambda _: None),
        remove_by_labels=lambda _: None,
    )
    parts: Any = SimpleNamespace(
        source=SimpleNamespace(committed=lambda _: {}),
        metrics=SimpleNamespace(partition_halted=gauge, partition_assigned=gauge),
    )
    return Partitions(
        settings,
        directory,
        parts.source,
        cast("Any", log),
        cluster=cluster,
        metrics=parts.metrics,
        board=cast("Any", None),
        agreement=cast("Any", None),
        agenda=cast("Agenda", None),
    )


def run_for_a_while(store: PartitionStore) -> None:
    """Own a partition, as an owner does who has restored it: write and leave."""
    front = WriteBackStore(store, memory=lambda: 10**6, now=0.0)
    position = Position("id of purchases", 10, 0, 1)
    ann = Changes(profiles=[(KEY, b"ann")], position=position, tails=Tails(7, 9))
    front.commit(ann, 1.0)
    front.close(2.0)


def come_back(directory: StateDirectory) -> tuple[list[bytes | None], Tails]:
    """Be assigned the partition; gives what is in the store, and where it is read."""
    log = Log()
    made = partitions(directory, log)
    made.remove_old()
    made.assign([3])
    store = made.restoring[3].store
    found = store.get_many([KEY])
    store.close()
    read = [log.added[f"pos-consumer.{name}", 3] for name in ("profiles", "state")]
    return found, Tails(*read)


@pytest.mark.parametrize(
    ("days", "kept"),
    [(0.0, True), (3.9, True), (4.1, False), (30.0, False), (-0.5, False)],
)
def test_a_store_that_was_away_for_too_long_is_rebuilt(
    tmp_path: Path,
    clock: SimpleNamespace,
    days: float,
    kept: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Else the profile of a visitor who was erased meanwhile would come back.

    Half of the shorter of both times counts; a note from the future is none.
    """
    with StateDirectory(tmp_path, "shop") as directory:
        run_for_a_while(_opened(directory))
        clock.now += days * DAY
        _touch(tmp_path, clock.now)
        expected = ([b"ann"], Tails(7, 9)) if kept else ([None], Tails())
        assert come_back(directory) == expected


def test_a_store_that_was_idle_is_as_old_as_its_owner(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    """Nobody else has written to its topics meanwhile."""
    with StateDirectory(tmp_path, "shop") as directory:
        front = WriteBackStore(_opened(directory), memory=lambda: 10**6, now=0.0)
        front.commit(Changes(profiles=[(KEY, b"ann")], tails=Tails(7, 9)), 1.0)
        for _ in range(400):
            clock.now += DAY / 200
            front.follow()
        clock.now += 3 * DAY  # frozen: the partition may have been another's
        front.follow()
        front.close(2.0)
        with PartitionStore(tmp_path / "partition-3") as store:
            assert store.followed == pytest.approx(START + 2 * DAY)
        clock.now += 1.5 * DAY
        _touch(tmp_path, clock.now)
        assert come_back(directory) == ([None], Tails())


def test_a_restore_that_was_cut_off_does_not_make_a_store_younger(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    """It was not at the end of its topics. A new one counts from when it was made."""
    with StateDirectory(tmp_path, "shop") as directory:
        for days, expected in ((0, None), (3.9, b"part"), (0.2, None)):
            clock.now += days * DAY
            _touch(tmp_path, clock.now)
            found, _ = come_back(directory)
            assert found == [expected]
            with directory.open(3) as store:  # as `Restoring.write` does
                part = Changes(profiles=[(KEY, b"part")], tails=Tails(5, 0))
                store.commit(part)


def test_a_store_of_a_former_release_begins_anew_once(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    """It does not say how old it is."""
    with StateDirectory(tmp_path, "shop") as directory:
        with directory.open(3) as store:
            store.commit(Changes(profiles=[(KEY, b"ann")], tails=Tails(7, 9)))
        _touch(tmp_path, clock.now)
        assert come_back(directory) == ([None], Tails())
        run_for_a_while(_opened(directory))
        _touch(tmp_path, clock.now)
        assert come_back(directory) == ([b"ann"], Tails(7, 9))


def test_stores_of_partitions_long_gone_are_removed(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    """At a start; younger ones stay, and what a rebuild has computed."""
    with StateDirectory(tmp_path, "shop") as directory:
        for number, of in ((1, ""), (2, ""), (1, "rebuild-r")):
            directory.open(number, of).close()
        _touch(tmp_path, clock.now)
        old = clock.now - 4.1 * DAY
        for path in ("partition-1", "rebuild-r/partition-1"):
            os.utime(tmp_path / path / "data.mdb", (old, old))
        (tmp_path / "partition-of-somebody").mkdir()
        partitions(directory, Log()).remove_old()
        left = sorted(
            str(p.relative_to(tmp_path)) for p in tmp_path.rglob("partition*")
        )
        assert left == ["partition-2", "partition-of-somebody", "rebuild-r/partition-1"]


def test_how_long_tombstones_are_kept_is_asked_of_the_cluster() -> None:
    """A topic may be set otherwise; where it says nothing, Kafka's default counts."""
    week = TopicState("a", "1", 1, {"delete.retention.ms": str(7 * 86_400_000)})
    found = Cluster.of({"a": week, "b": TopicState("b", "2", 1, {})})
    assert found.tombstones == {"a": 7 * DAY, "b": DAY}


def test_turns_may_take_their_time() -> None:
    """The longest single call to a broker is no freeze."""
    assert FROZEN_SECONDS > 2 * 120


def _opened(directory: StateDirectory) -> PartitionStore:
    store = directory.open(3)
    for name in KEPT:
        store.note(name, f"id of {name}".encode())
    return store


def _touch(path: Path, now: float) -> None:
    """Let the files be as new as they would be: the clock of the test is not theirs."""
    for file in path.rglob("data.mdb"):
        os.utime(file, (now, now))
