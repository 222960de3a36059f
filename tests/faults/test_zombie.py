"""Instances that freeze until others have taken over, and then go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import runs
from tests.faults.arena import Plan

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        pytest.param("classic", ["after-fold"], marks=pytest.mark.sample),
        ("classic", ["before-fold", "after-produce"]),
        ("classic", ["after-send-offsets", "after-commit", "after-store"]),
        ("classic", ["before-restore"]),
        ("classic", ["after-restore"]),
        ("classic", ["before-post", "after-post", "after-acceptance"]),
        ("classic", ["after-offset-commit", "before-confirm", "after-confirm"]),
        ("consumer", ["after-fold", "after-send-offsets"]),
        ("consumer", ["before-post"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_woken_zombie_changes_nothing(
    arenas: Arenas, protocol: str, names: list[str]
) -> None:
    """What it had in hand is refused or repeated without a trace, never added."""
    runs.woken_zombie(arenas(Plan(protocol=protocol)), *names)


@pytest.mark.parametrize("name", ["before-tick", "after-tick-produce"])
def test_a_zombie_in_the_daily_tick_changes_nothing(arenas: Arenas, name: str) -> None:
    """Profiles that slid are written by whoever owns them, once."""
    runs.zombie_in_the_tick(arenas(Plan(slides=True)), name)
