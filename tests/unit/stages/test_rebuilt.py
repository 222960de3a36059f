"""A rebuild brought up to its partitions, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from consumer.config import Settings
from consumer.errors import PartitionHalt
from consumer.frames import Records
from consumer.kafka.control_records import ControlView, Generation
from consumer.profiles.directory import StateDirectory
from consumer.profiles.store import Changes, Position, Tails
from consumer.stages import rebuilt as module
from consumer.stages.rebuilt import Beside, Rebuilt
from tests.property.world import Record, World
from tests.unit.stages.test_batch import ATTRIBUTES, SCHEMA, event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 9
STOPPED_AT, TARGET = 0, 7
REBUILD = {"id": "r", "attributes": ["revenue"], "profiles": "r.p", "state": "r.s"}


class Topic:
    """The topic of purchases: as many records a partition, read three at a time."""

    def __init__(self, world: World, low: int) -> None:
        self._world = world
        self._low = low
        self.reading: list[int] = []

    def bounds(self, _partition: int) -> tuple[int, int]:
        """Give what retention has left."""
        return self._low, EVENTS

    def read(self, partition: int, start: int, end: int) -> Iterator[Records]:
        """Read in order; one at a time."""
        assert not self.reading
        self.reading.append(partition)
        try:
            for first in range(start, end, 3):
                yield self._records(partition, first, min(end, first + 3))
        finally:
            self.reading.remove(partition)

    def _records(self, partition: int, first: int, end: int) -> Records:
        made: list[Record] = [
            self._world.record(event(number, f"visitor-{partition}"))
            for number in range(first, end)
        ]
        return Records(
            np.full(len(made), partition, np.int32),
            np.arange(first, end),
            np.full(len(made), 1_000),
            [one.key for one in made],
            [one.value for one in made],
        )


class Admin:
    """Shows a rebuild's topics, or has lost them."""

    def __init__(self, *there: str) -> None:
        self._there = there

    def states(self, names: Any) -> dict[str, object]:  # noqa: ANN401 - names
        """Give what there is."""
        return {name: object() for name in names if name in self._there}


@pytest.fixture(scope="module", name="world")
def _world() -> World:
    return World(ATTRIBUTES, {1: SCHEMA})


def made(
    world: World,
    directory: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    *,
    low: int = 0,
    there: tuple[str, ...] = ("r.p", "r.s"),
) -> tuple[Rebuilt, Generation, Topic]:
    """Make one beside fakes of Kafka."""
    topic = Topic(world, low)
    monkeypatch.setattr(module, "Excerpt", lambda *_: topic)
    monkeypatch.setattr(module, "TopicAdmin", lambda *_: Admin(*there))
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": ATTRIBUTES,
        }
    )
    definitions = {a.name: a.definition for a in world.plan.attributes}
    facts = {**REBUILD, "schema_id": world.codec.current.schema_id}
    facts["schema"] = world.codec.current.text
    generation = Generation(2, 0, "", definitions, rebuild=facts)
    return (
        Rebuilt(settings, directory, world.plan, world.decoder, ControlView),
        generation,
        topic,
    )


def restored(rebuilt: Rebuilt, generation: Generation, number: int) -> Beside:
    """Open a partition as it is once its topics are restored."""
    beside = rebuilt.open(number, generation, TARGET)
    position = Position("topic", STOPPED_AT, 0, 1)
    if beside.store.position is None:
        beside.store.commit(Changes(position=position, tails=Tails(1, 1)))
    return beside


def test_partitions_take_turns_and_all_reach_their_target(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folds up to its target and no further; one that leaves lets the next on."""
    monkeypatch.setattr(module, "FOLD_SECONDS", 0.0)
    with StateDirectory(tmp_path, "shop") as directory:
        rebuilt, generation, topic = made(world, directory, monkeypatch)
        besides = [restored(rebuilt, generation, number) for number in range(3)]
        assert not any(rebuilt.bring_up(one) for one in besides)
        assert topic.reading == [0]
        rebuilt.close(besides[0])
        assert topic.reading == []
        left = besides[1:]
        for _ in range(20):
            left = [one for one in left if not rebuilt.bring_up(one)]
        assert left == []
        assert topic.reading == []
        for one in besides[1:]:
            assert one.open is not None
            assert one.open.position.next_offset == TARGET
            (profile,) = [value for _, value in one.store.items()]
            _, codec, _ = rebuilt._work(generation)
            (row,) = codec.decode([profile]).to_pylist()
            assert row["revenue"] == {"total": 5 * TARGET, "weight": TARGET}
            rebuilt.close(one)


def test_one_that_comes_back_goes_on_where_it_was(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a later target as well; one beyond its target begins anew."""
    with StateDirectory(tmp_path, "shop") as directory:
        rebuilt, generation, _ = made(world, directory, monkeypatch)
        one = restored(rebuilt, generation, 0)
        while not rebuilt.bring_up(one):
            pass
        rebuilt.close(one)
        again = rebuilt.open(0, generation, EVENTS)
        while not rebuilt.bring_up(again):
            pass
        (profile,) = [value for _, value in again.store.items()]
        rebuilt.close(again)
        _, codec, _ = rebuilt._work(generation)
        (row,) = codec.decode([profile]).to_pylist()
        assert row["revenue"]["weight"] == EVENTS
        back = rebuilt.open(0, generation, TARGET)
        assert back.store.position is None
        rebuilt.close(back)


def test_what_cannot_be_brought_up_halts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its topics are gone, they hold nothing, or purchases are: nothing is skipped."""
    with StateDirectory(tmp_path, "shop") as directory:
        rebuilt, generation, _ = made(world, directory, monkeypatch, there=("r.p",))
        with pytest.raises(PartitionHalt, match=r"r\.s are gone") as caught:
            rebuilt.open(0, generation, TARGET)
        assert caught.value.reason == "rebuild_lost"
        rebuilt, generation, _ = made(world, directory, monkeypatch, low=2)
        empty = rebuilt.open(1, generation, TARGET)
        with pytest.raises(PartitionHalt, match="hold nothing"):
            rebuilt.bring_up(empty)
        rebuilt.close(empty)
        one = restored(rebuilt, generation, 2)
        with pytest.raises(PartitionHalt, match="removed purchases from 0 to 2"):
            rebuilt.bring_up(one)
        rebuilt.close(one)
