"""Where the partitions of a topic that is rekeyed go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from consumer.config import Settings
from consumer.kafka.changelog import Tail
from consumer.kafka.topics import Cluster
from consumer.stages.rekey_positions import SourcePosition, SourcePositions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from consumer.kafka.changelog import Changelog
    from consumer.kafka.input import InputConsumer

TOPIC = "pos-consumer.rekey-state"
HOMES = 2


class Source:
    """An input that remembers what it was told."""

    def __init__(self, committed: Mapping[int, int]) -> None:
        self._committed = committed
        self.started: dict[int, int] = {}
        self.paused: list[int] = []

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Give what is committed."""
        return {n: self._committed[n] for n in partitions if n in self._committed}

    def offset_for(self, start: str | datetime, partition: int) -> int:
        """Give 0 for earliest, 99 for all else."""
        assert partition >= 0
        return 0 if start == "earliest" else 99

    def start(self, offsets: Mapping[int, int]) -> None:
        """Note what flows."""
        self.started.update(offsets)

    def pause(self, partitions: Iterable[int]) -> None:
        """Note what does not."""
        self.paused += partitions


class Log:
    """Our topic, read in one go."""

    def __init__(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        self._records = list(records)
        self.idle = True
        self.begun: list[Mapping[tuple[str, int], int]] = []

    def add(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Begin to read."""
        self.begun.append(positions)
        self.idle = False

    def remove(self, places: Iterable[tuple[str, int]]) -> None:
        """Stop."""

    def read(self, _timeout: float) -> list[Tail]:
        """Give everything."""
        self.idle = True
        keys = [key for key, _ in self._records]
        return [Tail(TOPIC, 0, keys, [value for _, value in self._records], 1)]


def positions(
    committed: Mapping[int, int],
    kept: Mapping[int, SourcePosition],
    start: str = "earliest",
    ends: Sequence[int] = (),
) -> tuple[SourcePositions, Source]:
    """Join the parts with what the broker has."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "receipts", "key": "other", "start": start},
            "target": {"client": "acme"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    source = Source(committed)
    records = [
        (f"position/{number}".encode(), one.to_json()) for number, one in kept.items()
    ]
    made = SourcePositions(
        settings,
        cast("InputConsumer", source),
        cast("Changelog", Log(records)),
        Cluster({"receipts": "id"}, {TOPIC: HOMES}, {}),
        ends=ends,
    )
    return made, source


def test_the_position_kept_counts_whatever_is_committed() -> None:
    """Expired and reset offsets neither skip nor repeat anything."""
    kept = {n: SourcePosition("id", 40 + n) for n in range(3)}
    made, source = positions({0: 40, 1: 7}, kept)
    made.assign([0, 1, 2])
    made.restore(0.0)
    assert source.started == {0: 40, 1: 41, 2: 42}
    assert made.next_offsets() == source.started
    assert not made.new


@pytest.mark.parametrize(("start", "offset"), [("earliest", 0), ("latest", 70)])
def test_a_new_application_begins_where_it_is_told_to(start: str, offset: int) -> None:
    """And its first positions are to be written, before there is a record."""
    made, source = positions({}, {}, start, [70])
    made.assign([0])
    made.restore(0.0)
    assert source.started == {0: offset}
    assert made.new == {0: SourcePosition("id", offset)}


def test_a_partition_that_was_added_later_begins_at_its_beginning() -> None:
    """`start` is for new applications: what came meanwhile is not to be skipped."""
    made, source = positions({}, {0: SourcePosition("id", 5)}, "latest", [70, 71])
    made.assign([0, 1, 2])
    made.restore(0.0)
    # That of another replica has a position already; it tells nothing of the second.
    assert source.started == {0: 5, 1: 71, 2: 0}


def test_another_topic_of_the_same_name_halts() -> None:
    """Its offsets mean other records; other partitions go on."""
    kept = {0: SourcePosition("older", 5), 1: SourcePosition("id", 6)}
    made, source = positions({}, kept)
    made.assign([0, 1])
    made.restore(0.0)
    assert made.halted[0].reason == "topic_recreated"
    assert source.started == {1: 6}
    assert source.paused == [0]


def test_committed_offsets_without_a_position_halt() -> None:
    """Our topic was lost: nobody can tell what was written already."""
    made, source = positions({0: 12}, {})
    made.assign([0])
    made.restore(0.0)
    assert made.halted[0].reason == "state_missing"
    assert not source.started


def test_a_partition_that_left_is_not_started() -> None:
    """Also not when its position comes later."""
    made, source = positions({}, {0: SourcePosition("id", 5)})
    made.assign([0])
    made.close([0])
    made.restore(0.0)
    assert not source.started


def test_positions_are_spread_over_our_topic() -> None:
    """The source may have more partitions, and get more."""
    made, _ = positions({}, {})
    assert [made.home(number) for number in range(4)] == [0, 1, 0, 1]
