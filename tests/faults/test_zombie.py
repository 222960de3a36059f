"""Instances that freeze until others have taken over, and then go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.arena import Plan
from tests.faults.broker import SESSION_SECONDS
from tests.faults.oracle import check

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas

# Beyond this the broker has rolled the frozen transaction back.
TRANSACTION_SECONDS: Final = 10


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("after-fold", marks=pytest.mark.sample),
        "after-produce",
        "after-send-offsets",
        "after-store",
        "after-restore",
        "before-post",
        "after-post",
    ],
)
def test_a_woken_zombie_changes_nothing(
    arenas: Arenas, name: str, protocol: str
) -> None:
    """What it had in hand is refused or repeated without a trace, never added."""
    arena = arenas(Plan(protocol=protocol))
    arena.produce()
    arena.start(1)
    arena.wait_ready(1)
    turn = 1 if name == "after-restore" else arena.random.randint(3, 8)
    zombie = arena.start(0, failpoint=f"{name}:{turn}:stop")
    assert zombie.wait_frozen(), zombie.last_words()
    arena.sleep(SESSION_SECONDS + arena.random.uniform(0.5, 6.0))
    zombie.thaw()
    arena.sleep(2.0)
    arena.finish()
    check(arena)
