"""Loops whose turn fails: what they take up again, and what they let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, Mock

import pytest

from consumer.config import Settings
from consumer.errors import BrokerUnreachable, PartitionHalt
from consumer.kafka.input import Batch, Rebalance
from consumer.stages.aggregate import AggregateStage
from consumer.stages.rekey import RekeyStage

if TYPE_CHECKING:
    from collections.abc import Iterable

    Stage = AggregateStage | RekeyStage

SETTINGS = Settings.model_validate(
    {
        "purchases": {"topic": "purchases"},
        "target": {"client": "acme"},
        "attributes": {"orders": {"aggregate": "count"}},
    }
)
LOST = Rebalance(lost=[1], assigned=[2])


class Input:
    """An input that tells what changed hands in a call, which may fail."""

    joined = True

    def __init__(self, change: Rebalance, failure: Exception | None = None) -> None:
        self._change = change
        self._failure = failure

    def consume(self, _most: int, _timeout: float) -> Batch:
        """Give nothing."""
        if self._failure is not None:
            raise self._failure
        return Batch(None)

    def rebalance(self) -> Rebalance:
        """Give what changed hands, once."""
        change, self._change = self._change, Rebalance()
        return change

    def ends(self) -> dict[int, int]:
        """Know of none."""
        return {}

    def pause(self, numbers: Iterable[int]) -> None:
        """Have nothing that flows."""

    def close(self) -> None:
        """Leave."""


class Running:
    """Partitions 0 and 1, running; it remembers what is assigned to it."""

    def __init__(self) -> None:
        self.running = {number: Mock(joining=None) for number in (0, 1)}
        self.restoring: dict[int, object] = {}
        self.assigned: list[int] = []
        self.halted: dict[int, PartitionHalt] = {}
        self.flushed: list[int] = []

    def remove_old(self) -> None:
        """Have nothing of before."""

    def assign(self, numbers: Iterable[int]) -> None:
        """Begin to restore."""
        self.assigned += numbers

    def close(self, numbers: Iterable[int], *, flush: bool = True) -> None:
        """Give partitions up."""
        for number in list(numbers):
            if self.running.pop(number, None) is not None and flush:
                self.flushed.append(number)

    def follow(self) -> None:
        """Be alive."""

    def halt(self, number: int, halt: PartitionHalt) -> None:
        """Stop one."""
        self.close([number])
        self.halted[number] = halt

    def next_offsets(self) -> dict[int, int]:
        """Be at the beginning."""
        return dict.fromkeys(self.running, 0)


def aggregate(source: Any, partitions: Any, daily: Any = None) -> AggregateStage:  # noqa: ANN401 - fakes
    """Make the stage, with a producer whenever it wants one."""
    stage = AggregateStage(
        SETTINGS,
        Mock(),
        source,
        partitions,
        Mock(),
        cluster=Mock(),
        metrics=Mock(),
        board=Mock(),
        health=Mock(),
        agreement=Mock(renew=lambda _: False),
        view=Mock(),
        daily=daily,
    )
    stage._report = Mock()
    stage._new_producer = Mock()  # type: ignore[method-assign]
    return stage


def rekey(source: Any, partitions: Any) -> RekeyStage:  # noqa: ANN401 - fakes
    """Make the stage."""
    return RekeyStage(
        SETTINGS,
        source,
        partitions,
        Mock(),
        Mock(),
        cluster=Mock(),
        metrics=Mock(),
        report=Mock(),
        health=Mock(),
    )


def turn(stage: Stage) -> None:
    """Let a stage do one round that does not wait."""
    stage._laps = Mock()
    stage.drain()
    stage._turn()


@pytest.mark.parametrize("make", [aggregate, rekey])
def test_what_a_failing_call_lost_is_not_taken_up_again(make: Any) -> None:  # noqa: ANN401 - either
    """It is another's by then; what the call brought is restored with what is left."""
    partitions = Running()
    source = Input(LOST, BrokerUnreachable("The brokers are away."))
    stage = make(source, partitions)
    turn(stage)
    assert not partitions.running
    source._failure = None
    turn(stage)
    assert sorted(partitions.assigned) == [0, 2]


def test_a_day_that_cannot_be_begun_halts_its_partition_alone() -> None:
    """A full disk refuses the agenda of a day that came back; the process goes on."""
    partitions = Running()
    halt = PartitionHalt("store_write_failed")
    daily = Mock(give_days=lambda _: {1: halt}, due=lambda _: ({}, {}))
    turn(aggregate(Input(Rebalance()), partitions, daily))
    assert partitions.halted == {1: halt}
    assert partitions.running.keys() == {0}


def test_what_a_bug_may_have_touched_is_not_written() -> None:
    """A stage that ends by an error of its own leaves its stores as they were."""
    partitions = Running()
    stage = aggregate(Input(Rebalance(), ZeroDivisionError()), partitions)
    stage._metrics.laps = MagicMock()  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        stage.run()
    assert (partitions.running, partitions.flushed) == ({}, [])


def test_a_stage_that_is_drained_writes_what_it_has() -> None:
    """So the next start has nothing to restore."""
    partitions = Running()
    stage = aggregate(Input(Rebalance()), partitions)
    stage._metrics.laps = MagicMock()  # type: ignore[method-assign]
    stage.drain()
    stage.run()
    assert (partitions.running, partitions.flushed) == ({}, [0, 1])
