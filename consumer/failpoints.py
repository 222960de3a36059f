"""Named places where a fault test may end, freeze or delay this process.

`POS_CONSUMER_FAILPOINT` says which: `name`, `name:turn` or `name:turn:action`, where
`turn` is the how-manieth passage (1 is the first) and `action` is `kill` (SIGKILL, the
default), `stop` (SIGSTOP) or `sleep=SECONDS`; several are separated by commas. Unset,
a failpoint is one call that does nothing; they stand in code that runs once a batch.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from consumer.errors import ConfigurationError

VARIABLE: Final = "POS_CONSUMER_FAILPOINT"
ALLOWED: Final = (
    "name:turn:action, with a turn from 1 and an action of kill, stop or "
    "sleep=SECONDS; the names are {names}"
)
# In the order of a batch's way, so that each is also what stands before the next.
NAMES: Final = (
    "after-rekey-produce",
    "before-fold",
    "after-fold",
    "after-produce",
    "after-send-offsets",
    "after-commit",
    "after-store",
    "before-tick",
    "after-tick-produce",
    "before-erase",
    "after-erase-produce",
    "before-restore",
    "after-restore",
    "before-post",
    "after-post",
    "after-acceptance",
    "after-offset-commit",
    "before-confirm",
    "after-confirm",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What shall happen at one passage of one failpoint."""

    name: str
    turn: int = 1
    action: str = "kill"
    seconds: float = 0.0


class Failpoints:
    """Counts passages and carries orders out."""

    def __init__(self, orders: list[Order]) -> None:
        """Take the orders; none makes every passage free."""
        self._orders = orders
        self._passed: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        """Pass a failpoint."""
        if not self._orders:
            return
        self._passed[name] += 1
        for order in self._orders:
            if order.name == name and order.turn == self._passed[name]:
                _carry_out(order)


def orders(text: str) -> list[Order]:
    """Read orders; `ConfigurationError` for one that cannot be meant."""
    return [_order(part) for part in text.split(",") if part]


def _order(text: str) -> Order:
    name, _, rest = text.partition(":")
    turn, _, action = rest.partition(":")
    action, _, seconds = (action or "kill").partition("=")
    try:
        order = Order(name, int(turn or 1), action, float(seconds or 0.0))
    except ValueError:
        order = Order("")
    known = order.name in NAMES and order.action in {"kill", "stop", "sleep"}
    if not known or order.turn < 1:
        allowed = ALLOWED.format(names=", ".join(NAMES))
        raise ConfigurationError(VARIABLE, text, allowed)
    return order


def _carry_out(order: Order) -> None:
    if order.action == "sleep":
        time.sleep(order.seconds)
    else:
        number = signal.SIGKILL if order.action == "kill" else signal.SIGSTOP
        os.kill(os.getpid(), number)


failpoint: Final = Failpoints(orders(os.environ.get(VARIABLE, "")))
