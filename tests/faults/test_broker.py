"""A broker that dies, freezes, or is behind a bad wire."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults.arena import Plan
from tests.faults.oracle import check
from tests.faults.perils import TOO_LATE_SECONDS
from tests.faults.wire import END_TXN

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas


def test_killed_and_started_again(arenas: Arenas) -> None:
    """The service waits for the broker and goes on, with nothing lost."""
    arena = arenas()
    arena.start()
    arena.wait_ready()
    arena.produce()
    for _ in range(2):
        arena.wait_committing()
        arena.sleep_between(0.5, 2.0)
        arena.world.kafka.kill()
        arena.sleep_between(0.0, 4.0)
        arena.world.kafka.restart()
    arena.finish()
    check(arena)


def test_frozen(arenas: Arenas) -> None:
    """Connections that stay open without an answer end in a replay, not in a loss."""
    arena = arenas()
    arena.start(0)
    arena.start(1)
    arena.wait_ready(0, 1)
    arena.produce()
    arena.sleep_between(1.0, 3.0)
    arena.world.kafka.pause()
    time.sleep(TOO_LATE_SECONDS)
    arena.world.kafka.resume()
    arena.sleep_between(1.0, 3.0)
    arena.finish()
    check(arena)


def test_an_end_of_a_transaction_that_comes_too_late(arenas: Arenas) -> None:
    """It settles no later transaction: the producer it belonged to is fenced."""
    arena = arenas(Plan(wired=True))
    arena.start()
    arena.wait_ready()
    arena.produce()
    for _ in range(2):
        arena.sleep_between(0.5, 2.0)
        arena.world.wire.hold(END_TXN, TOO_LATE_SECONDS)
        arena.wait_for(lambda: not arena.world.wire.held, "no transaction ended")
        arena.sleep(TOO_LATE_SECONDS + 1.0)
    arena.finish()
    check(arena)


def test_a_slow_wire_that_resets(arenas: Arenas) -> None:
    """Latency and resets cost time and nothing else."""
    arena = arenas(Plan(wired=True))
    arena.start(0)
    arena.start(1)
    arena.wait_ready(0, 1)
    arena.produce()
    wire = arena.world.wire
    wire.latency = 0.05
    for _ in range(5):
        arena.sleep_between(0.2, 2.5)
        arena.world.loop.call(wire.reset)
    arena.world.loop.call(wire.heal)
    arena.finish()
    check(arena)
