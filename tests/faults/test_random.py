"""A few random compositions of faults; `make faults-random` makes more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.composed import compose, play

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas


@pytest.mark.parametrize("turn", [pytest.param(0, marks=pytest.mark.sample), 1, 2])
def test_a_random_composition(arenas: Arenas, seed: int, turn: int) -> None:
    """Faults that follow and overlap each other change no result."""
    composition = compose(seed)
    print(composition)  # noqa: T201 - shown where it fails
    play(arenas(composition.plan), composition)
