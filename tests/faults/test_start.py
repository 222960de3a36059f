"""The client's own races: where a partition begins, whatever answers come late."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from consumer.config import load_settings
from consumer.kafka.input import InputConsumer
from tests.faults.arena import Plan
from tests.faults.wire import LIST_OFFSETS

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas

LATE_SECONDS: Final = 1.0
ENOUGH_SECONDS: Final = 15.0


@pytest.mark.sample
@pytest.mark.parametrize("strategy", ["", "range"], ids=["cooperative", "eager"])
def test_a_partition_begins_where_it_was_told_to(arenas: Arenas, strategy: str) -> None:
    """No answer about a topic's end, however late, carries it past what is unread."""
    arena = arenas(Plan(wired=True, strategy=strategy))
    arena.produce()
    arena.sleep(1.0)
    arena.produced()
    ends = arena.ends(arena.topic)
    wire = arena.world.wire
    for _ in ends:
        wire.hold(LIST_OFFSETS, LATE_SECONDS)
    found: Counter[int] = Counter()
    source = InputConsumer(load_settings(arena.instances[0].work.config))
    try:
        deadline = time.monotonic() + ENOUGH_SECONDS
        while time.monotonic() < deadline and found != Counter(ends):
            batch = source.consume(1_000, 0.2)
            for number in source.rebalance().assigned:
                source.start({number: 0})
            if batch.records is not None:
                found.update(batch.records.partitions.tolist())
    finally:
        source.close()
    assert found == Counter(ends)
