"""A rebuild: killed at each of its steps, and its owners while they take it over."""

from __future__ import annotations

from dataclasses import replace
from signal import SIGKILL
from typing import TYPE_CHECKING, Final

from consumer.config import load_settings
from consumer.kafka.control import Control
from tests.faults.arena import DRAIN_SECONDS, Plan
from tests.faults.oracle import check
from tests.faults.perils import REBUILT

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.sandbox.supervised import SupervisedProcess
    from tests.faults.arena import Arena
    from tests.faults.conftest import Arenas

PLAN: Final = Plan(static=True, rebuilt=frozenset(REBUILT))
# More profiles than an owner joins between two batches.
JOINED: Final = replace(PLAN, visitors=30_000)
COMPUTING: Final = (
    "after-produce",
    "after-send-offsets",
    "after-commit",
    "after-store",
)
TAKING_OVER: Final = ("after-restore", *COMPUTING)
DEAD_SECONDS: Final = 90.0
DONE_SECONDS: Final = 120.0
FIRST_REBUILT: Final = 2  # the generation


def test_killed_at_each_step(arenas: Arenas) -> None:
    """The command as it computes; an owner as it switches over and as it joins."""
    arena = arenas(JOINED)
    arena.produce()
    for number in range(2):
        arena.start(number)
    arena.wait_ready(0, 1)
    arena.wait_committing(transactions=20)
    for name in arena.random.sample(COMPUTING, len(COMPUTING)):
        rebuild = _rebuild(arena, failpoint=f"{name}:{arena.random.randint(1, 2)}")
        assert rebuild.wait(DEAD_SECONDS) == -SIGKILL, f"{name}: {_said(arena)}"
    rebuild = _rebuild(arena)
    _wait_announced(arena, lambda number: number == FIRST_REBUILT)
    owner = arena.instances[0]
    owner.kill()
    for name in arena.random.sample(TAKING_OVER, len(TAKING_OVER)):
        owner.start(failpoint=f"{name}:{arena.random.randint(1, 3)}")
        assert owner.wait() == -SIGKILL, f"{name}: {owner.last_words()}"
    owner.start()
    _wait_done(arena, rebuild)
    arena.finish()
    check(arena)
    _check_nothing_left(arena)


def test_made_anew_where_it_cannot_be_taken_over(arenas: Arenas) -> None:
    """What it had computed is deleted before anybody took it over."""
    arena = arenas(PLAN)
    arena.produce()
    one = arena.start()
    arena.wait_committing(transactions=10)
    arena.drain(0)
    lost = _rebuild(arena)
    _wait_announced(arena, lambda number: number == FIRST_REBUILT)
    lost.send_signal(SIGKILL)
    for deletion in arena.admin.delete_topics(_topics(arena)).values():
        deletion.result(timeout=30)
    one.start()
    arena.wait_for(
        lambda: (
            one.metrics().total("pos_consumer_partition_halted", reason="rebuild_lost")
            == arena.plan.partitions
        ),
        "the partitions are not halted",
        one,
    )
    anew = _rebuild(arena, "--anew")
    _wait_announced(arena, lambda number: number > FIRST_REBUILT)
    assert one.drain(DRAIN_SECONDS) == 0, one.last_words()
    one.start()
    _wait_done(arena, anew)
    arena.finish()
    check(arena)
    _check_nothing_left(arena)


def _rebuild(arena: Arena, *options: str, failpoint: str = "") -> SupervisedProcess:
    """Start the command, or go on with it."""
    names = () if options else REBUILT
    return arena.command("rebuild", *names, *options, "--yes", failpoint=failpoint)


def _wait_announced(arena: Arena, wanted: Callable[[int], bool]) -> None:
    """Wait until a rebuild's generation is there to be taken over."""
    control = Control(load_settings(arena.instances[0].work.config))

    def announced() -> bool:
        return any(
            wanted(one.number) for one in control.read().generations if one.rebuild
        )

    try:
        arena.wait_for(announced, f"no rebuild is announced: {_said(arena)}")
    finally:
        control.close()


def _wait_done(arena: Arena, rebuild: SupervisedProcess) -> None:
    """Wait until all owners have taken it over, and the command says so."""
    arena.wait_for(
        lambda: not rebuild.running,
        f"the rebuild does not end: {_said(arena)}",
        seconds=DONE_SECONDS,
    )
    assert rebuild.wait(0.0) == 0, _said(arena)


def _check_nothing_left(arena: Arena) -> None:
    assert _topics(arena) == []


def _topics(arena: Arena) -> list[str]:
    known = arena.admin.list_topics(timeout=10).topics
    return [name for name in known if name.startswith(f"{arena.name}-rebuild-")]


def _said(arena: Arena) -> str:
    log = arena.folder / "rebuild.log"
    return log.read_text(encoding="utf-8")[-2_000:] if log.exists() else "nothing"
