"""Processes that end: killed at every boundary, at random, or told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.faults import runs
from tests.faults.arena import DRAIN_SECONDS, Plan
from tests.faults.oracle import check
from tests.faults.perils import TOO_LATE_SECONDS

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas

AGGREGATE: Final = (
    "before-fold",
    "after-fold",
    "after-produce",
    "after-send-offsets",
    "after-commit",
    "after-store",
    "before-restore",
    "after-restore",
)
ERASED_SECONDS: Final = 150.0
UPLOAD: Final = (
    "before-post",
    "after-post",
    "after-acceptance",
    "after-offset-commit",
    "before-confirm",
    "after-confirm",
)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(AGGREGATE, id="aggregate", marks=pytest.mark.sample),
        pytest.param(UPLOAD, id="upload"),
    ],
)
def test_killed_at_each_boundary_nothing_is_lost_or_doubled(
    arenas: Arenas, names: tuple[str, ...]
) -> None:
    """SIGKILL before and after each step of a batch leaves no trace in the result."""
    arena = arenas(Plan(static=True))
    runs.killed_at(arena, arena.random.sample(names, len(names)))


def test_killed_in_the_daily_tick(arenas: Arenas) -> None:
    """What slid and what did not is found out by the next start."""
    arena = arenas(Plan(static=True, slides=True))
    runs.killed_in_the_tick(arena, ["before-tick", "after-tick-produce"])


def test_killed_in_an_erasure(arenas: Arenas) -> None:
    """Whoever comes next goes on with it; nobody who was erased comes back."""
    arena = arenas(Plan(static=True, visitors=300))
    arena.produce()
    arena.start()
    arena.wait_committing(transactions=20)
    known = sorted(arena.world.loop.call(lambda: dict(arena.target.profiles())))
    erased = frozenset(arena.random.sample(known, 9))
    listed = arena.folder / "erased.txt"
    listed.write_text("\n".join(erased), encoding="utf-8")
    arena.drain(0)
    asking = arena.command("erase", "--visitors", str(listed))
    # Rows that say so, then tombstones: each a transaction.
    for order in ("before-erase:1", "after-erase-produce:1", "after-erase-produce:2"):
        one = arena.start(failpoint=order)
        assert one.wait() == -9, f"{order}: {one.last_words()}"
    arena.start()
    told = arena.folder / "erase.log"
    assert asking.wait(ERASED_SECONDS) == 0, told.read_text(encoding="utf-8")
    arena.finish()
    check(arena, erased=erased)


@pytest.mark.parametrize("turn", range(3))
def test_one_of_three_killed_at_random(arenas: Arenas, turn: int) -> None:
    """Instances that die at any moment are replaced by the others and come back."""
    arena = arenas()
    for number in range(3):
        arena.start(number)
    arena.wait_ready(0, 1, 2)
    arena.produce()
    for _ in range(2):
        arena.sleep_between(0.5, 3.0)
        victim = arena.random.choice(arena.instances)
        victim.kill()
        arena.sleep_between(0.0, 8.0)
        victim.start()
    arena.finish()
    check(arena)


@pytest.mark.parametrize("names", [AGGREGATE, UPLOAD], ids=["aggregate", "upload"])
def test_told_to_stop_at_each_boundary(arenas: Arenas, names: tuple[str, ...]) -> None:
    """SIGTERM between any two steps of a batch ends the service well."""
    arena = arenas(Plan(static=True))
    runs.stopped_at(arena, arena.random.sample(names, len(names)))


def test_told_to_stop_while_it_starts(arenas: Arenas) -> None:
    """SIGTERM at any moment of a start ends it, and the next goes on from there."""
    arena = arenas()
    arena.produce()
    for moment in (0.4, 1.2, 2.0, 3.0):
        one = arena.start()
        arena.sleep(moment + arena.random.uniform(-0.3, 0.3))
        # Until Python has got as far as to say what a signal means, it just ends.
        assert one.drain(DRAIN_SECONDS) in {0, -15}, one.last_words()
    arena.start()
    arena.finish()
    check(arena)


def test_a_transaction_that_takes_too_long(arenas: Arenas) -> None:
    """The broker ends it; the batch is done again, by the same producer's successor."""
    arena = arenas()
    arena.produce()
    names = arena.random.sample(
        ["after-fold", "after-produce", "after-send-offsets"], 3
    )
    orders = [
        f"{name}:{arena.random.randint(2, 5) + 10 * round_}:sleep={TOO_LATE_SECONDS}"
        for round_, name in enumerate(names)
    ]
    arena.start(failpoint=",".join(orders))
    arena.wait_ready()
    arena.sleep(3 * TOO_LATE_SECONDS)
    arena.finish()
    check(arena)
