"""Delivery of one batch, between losing a partition and having it back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from consumer.stages import upload_refusals
from consumer.stages.upload_delivery import Delivery
from consumer.stages.upload_refusals import Refusal, Refusals
from consumer.target.bisection import Search
from consumer.target.micro_batch import Sealed
from consumer.target.outcome import Accepted
from tests.unit.stages.upload_parts import HELD, PARTITION, Parts, parts, rows

if TYPE_CHECKING:
    from consumer.stages.upload_context import UploadContext


def sealed_row(**more: Any) -> tuple[Parts, Sealed]:  # noqa: ANN401 - as `parts`
    """Make a context with one sealed row."""
    context = parts(**more)
    context.pending.add(rows(7, 8), {PARTITION: 8}, 0.0)
    sealed = context.pending.seal(0.0, at_once=True)
    assert isinstance(sealed, Sealed)
    return context, sealed


def delivery_of(context: Parts) -> Delivery:
    """Make a delivery without a client: nothing may be sent."""
    return Delivery(cast("UploadContext", context), cast("Any", None), b"visitor,a\n")


async def test_rows_from_before_a_loss_are_not_sent_after_it() -> None:
    """Not even where the partition is back; and their intent is its next owner's.

    Who had it in between may have committed past the rows, counting on the intent.
    """
    context, sealed = sealed_row()

    async def lose_and_take_back(_: str) -> None:
        """Stand for the gate, where a frozen process may stand for long."""
        context.held[PARTITION] += 1
        context.pending.drop([PARTITION])

    context.gate = SimpleNamespace(take=lose_and_take_back)

    await delivery_of(context).deliver(sealed, lambda: None, HELD)

    assert context.ledger.ended == []
    assert context.pending.waiting == 0


async def test_rows_are_given_back_while_the_membership_is_in_doubt() -> None:
    """Who was frozen behind the gate sends nothing until the group has answered."""
    context, sealed = sealed_row()

    async def freeze(_: str) -> None:
        context.confirmed = lambda _: False

    context.gate = SimpleNamespace(take=freeze)

    await delivery_of(context).deliver(sealed, lambda: None, HELD)

    assert context.ledger.ended == [[PARTITION]]
    assert context.pending.waiting == 1


@pytest.mark.parametrize("left", [False, True])
async def test_an_acceptance_stays_in_doubt_where_the_partition_has_left(
    *, left: bool
) -> None:
    """Whoever had it meanwhile may have sent newer rows before this batch lands."""
    context, sealed = sealed_row(refused=str, failing=str)
    delivery = delivery_of(context)
    upload = await delivery._begin(sealed, HELD, cast("Any", SimpleNamespace(to=str)))
    context.clock.advance(5.0)
    if left:
        context.held[PARTITION] += 1

    [entry] = await delivery._accepted(upload, Accepted("id", ""))

    assert entry.accepted
    assert entry.ambiguous_at == (context.clock.now() if left else None)


@pytest.mark.parametrize("kept", [[False, False], [True, False], [True, True]])
async def test_a_refused_row_is_put_down_only_by_who_has_kept_its_partition(
    kept: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be read again by then, for the next owner, who may be we ourselves."""

    async def no_versions(*_: object) -> list[int]:
        return []

    monkeypatch.setattr(upload_refusals, "versions", no_versions)
    context, sealed = sealed_row(put_down={}, rejected=SimpleNamespace(write=list))
    refusals = Refusals(cast("UploadContext", context))
    refusals.accepted()
    search = Search()
    search.refused(1)

    answers = iter(kept)

    refusal = Refusal(sealed, "no", too_large=False)
    await refusals.settle([refusal], search, lambda _: next(answers))

    assert context.put_down == ({PARTITION: {7}} if all(kept) else {})
