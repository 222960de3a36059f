"""Failpoints: free when nobody orders anything, exact when somebody does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from consumer.errors import ConfigurationError
from consumer.failpoints import NAMES, VARIABLE, Failpoints, Order, orders

_PASS_TWICE = """
from consumer.failpoints import failpoint
failpoint("before-fold")
print("once", flush=True)
failpoint("before-fold")
print("twice", flush=True)
"""


def test_an_order_names_a_place_a_turn_and_an_action() -> None:
    """Turn and action have defaults; several orders are separated by commas."""
    assert orders("") == []
    assert orders("before-fold") == [Order("before-fold", 1, "kill")]
    assert orders("after-post:3:sleep=0.5,after-store:2:stop") == [
        Order("after-post", 3, "sleep", 0.5),
        Order("after-store", 2, "stop"),
    ]


@pytest.mark.parametrize(
    "text", ["nowhere", "before-fold:x", "before-fold:0", "before-fold:1:explode"]
)
def test_an_order_that_cannot_be_meant_is_refused(text: str) -> None:
    """The error names the variable and every place there is."""
    with pytest.raises(ConfigurationError) as caught:
        orders(text)

    assert VARIABLE in str(caught.value)
    assert NAMES[-1] in str(caught.value)


def test_without_orders_every_place_is_passed() -> None:
    """Nothing happens, whatever the name."""
    free = Failpoints([])

    for name in NAMES:
        free(name)


def test_the_process_ends_at_the_ordered_turn() -> None:
    """The first passage is free, the second is SIGKILL."""
    done = subprocess.run(
        [sys.executable, "-c", _PASS_TWICE],
        env={**os.environ, VARIABLE: "before-fold:2:kill"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "once\n"
