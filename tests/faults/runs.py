"""Runs that more than one test makes: of the service as it is, and of it broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.faults.arena import DRAIN_SECONDS, SETTLE_SECONDS
from tests.faults.broker import SESSION_SECONDS
from tests.faults.oracle import check
from tests.faults.perils import hanging
from tests.faults.rival import rival

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.faults.arena import Arena

RESTORE_SECONDS: Final = 4.0  # more than a restore takes that nothing holds up


def killed_at(arena: Arena, names: Iterable[str]) -> None:
    """Kill an instance at one failpoint after the other."""
    arena.produce()
    for name in names:
        # A start restores once, and lets each of the partitions flow.
        turn = 1 if name == "before-restore" else arena.random.randint(1, 3)
        one = arena.start(failpoint=f"{name}:{turn}")
        assert one.wait() == -9, f"{name}:{turn}: {one.last_words()}"
    arena.start()
    arena.finish()
    check(arena)


def stopped_at(arena: Arena, names: Iterable[str]) -> None:
    """Ask an instance to stop at one failpoint after the other."""
    arena.produce()
    for name in names:
        turn = 1 if name == "before-restore" else arena.random.randint(1, 3)
        one = arena.start(failpoint=f"{name}:{turn}:stop")
        assert one.wait_frozen(), f"{name}:{turn}: {one.last_words()}"
        one.terminate()
        one.thaw()
        assert one.wait(DRAIN_SECONDS) == 0, f"{name}:{turn}: {one.last_words()}"
    arena.start()
    arena.finish()
    check(arena)


def woken_zombie(arena: Arena, *names: str) -> None:
    """Freeze an instance at failpoints until another one has taken over."""
    arena.produce()
    arena.start(1)
    arena.wait_ready(1)
    orders = []
    for round_, name in enumerate(names):
        later = 3 + arena.random.randint(0, 5) + 15 * round_
        orders.append(f"{name}:{1 if name.endswith('-restore') else later}:stop")
    zombie = arena.start(0, failpoint=",".join(orders))
    for _ in names:
        assert zombie.wait_frozen(), zombie.last_words()
        arena.sleep(SESSION_SECONDS + arena.random.uniform(0.5, 4.0))
        zombie.thaw()
        arena.sleep(1.0)
    arena.finish()
    check(arena)


def zombie_in_the_tick(arena: Arena, name: str) -> None:
    """Freeze an instance after midnight until another one has done its work."""
    arena.start(1)
    zombie = arena.start(0, failpoint=f"{name}:1:stop")
    arena.wait_ready(0, 1)
    arena.produce()
    arena.wait_committing(0, transactions=5)
    arena.pass_midnight()
    assert zombie.wait_frozen(), zombie.last_words()
    arena.sleep(SESSION_SECONDS + arena.random.uniform(4.0, 6.0))
    zombie.thaw()
    arena.sleep(2.0)
    arena.finish()
    check(arena)


def killed_in_the_tick(arena: Arena, names: Iterable[str]) -> None:
    """Kill an instance while it works off what a day has changed, again and again."""
    arena.produce()
    arena.start()
    arena.wait_committing(transactions=5)
    arena.drain(0)
    arena.pass_midnight()
    for name in names:
        one = arena.start(failpoint=f"{name}:1")
        assert one.wait() == -9, f"{name}: {one.last_words()}"
    arena.start()
    arena.finish()
    check(arena)


def fenced_producer(arena: Arena, seconds: float = SETTLE_SECONDS) -> None:
    """Take the producer's id over for a moment, again and again."""
    one = arena.start()
    arena.wait_ready()
    arena.produce()
    for _ in range(3):
        arena.wait_committing()
        arena.sleep_between(0.3, 1.5)
        replica = one.work.folder / "state" / "replica-id"
        name = f"{arena.name}-{replica.read_text(encoding='utf-8')}"
        rival(arena, name, 10)
    arena.sleep(2.0)
    arena.finish(seconds)
    check(arena)


def hanging_transaction(arena: Arena) -> None:
    """Let an instance die with a transaction of someone else before its last ones."""
    arena.start(0)
    arena.wait_ready()
    arena.produce()
    arena.wait_committing()
    transaction = hanging(arena)
    next(transaction)
    arena.wait_committing(transactions=10)
    arena.instances[0].kill()
    arena.start(1)
    arena.wait_for(
        lambda: (
            arena.instances[1].metrics().total("pos_consumer_partition_assigned") > 0
        ),
        "nothing is taken over",
    )
    arena.sleep(RESTORE_SECONDS)
    next(transaction, None)
    arena.finish()
    check(arena)
