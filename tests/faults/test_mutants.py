"""The harness is put to the test: the service is broken, and a run must fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults import runs
from tests.faults.arena import Failed, Plan
from tests.faults.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.arena import Arena
    from tests.faults.conftest import Arenas

IMPATIENT = 20.0  # seconds in which a healthy service has long arrived
WRONG = "profiles:|versions of|state:|Target"
STANDS_STILL = "purchases are not folded|commits nothing"


def _zombie(arena: Arena) -> None:
    runs.woken_zombie(arena, "after-fold")


def _fenced(arena: Arena) -> None:
    runs.fenced_producer(arena, IMPATIENT)


def _killed(arena: Arena) -> None:
    runs.killed_at(arena, ["after-fold", "after-commit"])


def _ticking(arena: Arena) -> None:
    runs.zombie_in_the_tick(arena, "before-tick")


PLANS = {"tick_without_offsets": Plan(slides=True)}
CATCHES: dict[str, tuple[Callable[[Arena], None], str]] = {
    "offsets_outside_the_transaction": (_zombie, WRONG),
    "transactions_without_offsets": (_zombie, WRONG),
    "store_before_the_commit": (_fenced, WRONG),
    "producer_not_recycled": (_fenced, STANDS_STILL),
    "position_of_the_consumer": (_killed, WRONG),
    "restore_to_the_committed_end": (runs.hanging_transaction, WRONG),
    "tick_without_offsets": (_ticking, WRONG),
}


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", list(MUTANTS))
def test_a_broken_service_is_caught(arenas: Arenas, mutant: str) -> None:
    """Some run finds what is wrong, not merely that something is."""
    run, reason = CATCHES[mutant]
    arena = arenas(replace(PLANS.get(mutant, Plan()), mutant=mutant))

    with pytest.raises(Failed, match=reason):
        run(arena)
