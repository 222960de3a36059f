"""What `start` stands for is agreed once: no replica and no retry decides otherwise."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from consumer.config import Settings
from consumer.kafka.control_records import ControlView, Generation, encode
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.stages.beginning import first_offset
from consumer.stages.generations import NO_WISHES, Agreement, agree
from consumer.stages.lifecycle import Partitions
from tests.property.world import World
from tests.unit.stages.test_batch import ATTRIBUTES, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 4
TIME = datetime(2026, 1, 31, tzinfo=UTC)


class Cluster:
    """A topic of purchases that grows, and the control topic."""

    def __init__(self) -> None:
        self.low = 0
        self.ends = [100 + number for number in range(PARTITIONS)]
        self.control = ControlView()

    def offset_for(self, start: str | datetime, number: int) -> int:
        """Look an offset up, as it is now."""
        known = {"earliest": self.low, "latest": self.ends[number], TIME: 50}
        return known[start]

    def grow(self) -> None:
        """Let purchases come."""
        self.ends = [end + 1_000 for end in self.ends]

    @contextmanager
    def announcing(self) -> Iterator[Any]:
        """Have the right to announce."""
        yield SimpleNamespace(put=self._put)

    def _put(self, generation: Generation) -> None:
        record = generation.key.encode(), encode(generation)
        self.control = self.control.with_records([record], 1)


@pytest.fixture(scope="module", name="world")
def _world() -> World:
    return World(ATTRIBUTES, {1: SCHEMA})


def start_replica(cluster: Cluster, world: World, view: ControlView) -> Agreement:
    """Agree as a replica does that has read `view` of the control topic."""
    return agree(
        view,
        cluster.announcing,
        lambda: cluster.control,
        world.plan,
        ProfileCodec(ProfileSchema.of(world.plan)),
        partitions=PARTITIONS,
        at=1.0,
        wishes=NO_WISHES,
        ends=lambda: list(cluster.ends),
    )


def begin(cluster: Cluster, agreement: Agreement, start: object, number: int) -> int:
    """Find where the aggregate stage begins a partition that has no state."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases", "start": start},
            "target": {"client": "acme"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    parts = object.__new__(Partitions)
    parts._settings = settings
    parts._source = cast("Any", cluster)
    parts._topic_ids = {"purchases": "id"}
    parts._agreement = agreement
    one = SimpleNamespace(number=number, committed=None)
    return parts._first_position(cast("Any", one)).next_offset


def test_replicas_that_start_together_begin_alike(world: World) -> None:
    """Also when one has looked before the other announced, and purchases come."""
    cluster = Cluster()
    nothing = cluster.control
    first = start_replica(cluster, world, nothing)
    cluster.grow()
    second = start_replica(cluster, world, nothing)
    later = start_replica(cluster, world, cluster.control)
    for one in (first, second, later):
        found = [begin(cluster, one, "latest", n) for n in range(PARTITIONS)]
        assert found == [100, 101, 102, 103]


def test_a_retry_skips_nothing(world: World) -> None:
    """What came after the first try belongs to the application."""
    cluster = Cluster()
    agreement = start_replica(cluster, world, cluster.control)
    assert begin(cluster, agreement, "latest", 2) == 102
    cluster.grow()
    assert begin(cluster, agreement, "latest", 2) == 102


@pytest.mark.parametrize(
    ("start", "offset"), [("earliest", 0), ("latest", 101), (TIME, 50)]
)
def test_each_start_is_what_it_says(
    world: World, start: str | datetime, offset: int
) -> None:
    """A partition that was added later is read whole whatever it is."""
    cluster = Cluster()
    agreement = start_replica(cluster, world, cluster.control)
    cluster.ends.append(7)
    assert begin(cluster, agreement, start, 1) == offset
    assert begin(cluster, agreement, start, PARTITIONS) == 0


def test_later_generations_keep_where_the_application_began(world: World) -> None:
    """An application that was announced before ends were noted has none."""
    cluster = Cluster()
    text = ProfileSchema.of(world.plan).text
    other = Generation(1, 0, text, {}, partitions=PARTITIONS, ends=[1, 2, 3, 4])
    with cluster.announcing() as announcement:
        announcement.put(other)
    assert start_replica(cluster, world, cluster.control).ends == [1, 2, 3, 4]
    older = Cluster()
    with older.announcing() as announcement:
        announcement.put(Generation(1, 0, text, {}))
    agreement = start_replica(older, world, older.control)
    assert not agreement.ends
    assert begin(older, agreement, "latest", 1) == 0
    assert not older.control.generations[-1].ends


@pytest.mark.parametrize(
    ("low", "end", "expected"), [(60, 50, 60), (0, 5_000, 0), (10, 50, 50)]
)
def test_an_end_that_is_not_in_the_topic_does_not_count(
    low: int, end: int, expected: int
) -> None:
    """Retention has passed it, or the topic is another one of that name."""
    cluster = Cluster()
    cluster.low = low
    assert first_offset(cast("Any", cluster), "latest", 0, [end]) == expected
