"""Delivery of one batch, between losing a partition and having it back."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl

from consumer.clock import ManualClock
from consumer.stages.upload_delivery import Delivery
from consumer.target.micro_batch import SCHEMA, Limits, Sealed
from consumer.target.pending import Pending
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITION = 3


class _Fakes(SimpleNamespace):
    """What a delivery needs of its context; nothing may be sent."""

    async def durably(self, _: str, function: Callable[..., Any], *args: Any) -> None:  # noqa: ANN401 - as the context's
        function(*args)

    async def worker(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - as the context's
        return function(*args)


def sealed_row() -> tuple[_Fakes, Sealed, list[list[int]]]:
    """Make a context with one sealed row, and the list of the intents it ends."""
    pending = Pending(Limits(10, 10, 1_000_000, 1.0, 1_000_000), 0)
    row = {
        "visitor": ["a"],
        "partition": [PARTITION],
        "offset": [7],
        "origin": [0],
        "timestamp": [0],
        "row": [b"a,1\n"],
    }
    pending.add(pl.DataFrame(row, schema=SCHEMA), {PARTITION: 8}, 0.0)
    sealed = pending.seal(0.0, at_once=True)
    assert isinstance(sealed, Sealed)
    ended: list[list[int]] = []
    context = _Fakes(
        clock=ManualClock(),
        metrics=Metrics(),
        pending=pending,
        calling={PARTITION},
        held={PARTITION},
        losses=Counter[int](),
        confirmed=lambda _: True,
        changed=SimpleNamespace(set=lambda: None),
        ledger=SimpleNamespace(
            write=lambda _: None, end=lambda _, where: ended.append(where)
        ),
    )
    return context, sealed, ended


async def test_rows_from_before_a_loss_are_not_sent_after_it() -> None:
    """Not even where the partition is back; and their intent is its next owner's.

    Who had it in between may have committed past the rows, counting on the intent.
    """
    context, sealed, ended = sealed_row()

    async def lose_and_take_back(_: str) -> None:
        """Stand for the gate, where a frozen process may stand for long."""
        context.losses.update([PARTITION])
        context.pending.drop([PARTITION])

    context.gate = SimpleNamespace(take=lose_and_take_back)
    delivery = Delivery(context, SimpleNamespace(), b"visitor,a\n")  # type: ignore[arg-type]

    await delivery.deliver(sealed, lambda: None, {})  # there is no client to send it

    assert ended == []
    assert context.pending.waiting == 0


async def test_rows_are_given_back_while_the_membership_is_in_doubt() -> None:
    """Who was frozen behind the gate sends nothing until the group has answered."""
    context, sealed, ended = sealed_row()

    async def freeze(_: str) -> None:
        context.confirmed = lambda _: False

    context.gate = SimpleNamespace(take=freeze)
    delivery = Delivery(context, SimpleNamespace(), b"visitor,a\n")  # type: ignore[arg-type]

    await delivery.deliver(sealed, lambda: None, {})  # there is no client to send it

    assert ended == [[PARTITION]]
    assert context.pending.waiting == 1
