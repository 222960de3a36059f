"""A context of the upload stage without a broker and without Target, for its parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumer.clock import ManualClock
from consumer.target.micro_batch import SCHEMA, Limits
from consumer.target.pending import Pending
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITION = 3
EPOCH = 5
HELD = {PARTITION: EPOCH}


class Parts(SimpleNamespace):
    """What a part needs of its context; what a test does not give is not there."""

    async def durably(self, _: str, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - as the context's
        """Run it."""
        return function(*args)

    async def worker(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - as the context's
        """Run it."""
        return function(*args)


class Ledger:
    """Keeps what is written, and which partitions' entries are ended."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.ended: list[list[int]] = []

    def write(self, entries: list[Any]) -> None:
        """Note entries."""
        self.written += entries

    def end(self, _: str, where: list[int]) -> None:
        """Note an end."""
        self.ended.append(where)


def parts(**more: Any) -> Parts:  # noqa: ANN401 - whatever a part needs
    """Make a context that holds `PARTITION`, with nothing pending."""
    known = {
        "clock": ManualClock(),
        "metrics": Metrics(),
        "pending": Pending(Limits(1_000, 1_000, 1_000_000, 1.0, 1_000_000), 0),
        "ledger": Ledger(),
        "calling": {PARTITION},
        "held": dict(HELD),
        "confirmed": lambda _: True,
        "changed": SimpleNamespace(set=lambda: None),
    }
    return Parts(**(known | more))


def rows(first: int, end: int) -> pl.DataFrame:
    """Make rows of `PARTITION`, a visitor each, at offsets `first` to `end` - 1."""
    offsets = np.arange(first, end)
    count = len(offsets)
    columns = {
        "visitor": [f"v{offset}" for offset in offsets],
        "partition": [PARTITION] * count,
        "offset": offsets,
        "origin": [0] * count,
        "timestamp": [0] * count,
        "row": [b"v,1\n"] * count,
    }
    return pl.DataFrame(columns, schema=SCHEMA)
