"""Rows that are sent once more, and partitions that come and go meanwhile."""

from __future__ import annotations

import heapq
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from consumer.errors import PartitionHalt
from consumer.kafka.profiles_batches import ProfileBatch
from consumer.kafka.uploads_ledger import Entry
from consumer.stages import upload_confirmation, upload_reread
from consumer.stages.upload import UploadStage
from consumer.stages.upload_confirmation import Confirmation
from consumer.stages.upload_intake import Intake
from consumer.stages.upload_reread import send_again
from consumer.target.offsets import Span
from consumer.target.status import BatchStatus, Progress
from tests.unit.stages.upload_parts import EPOCH, PARTITION, Parts, parts, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from consumer.stages.upload_context import UploadContext

COUNT = 10
SPAN = Span(COUNT, ((0, COUNT - 1),))


class Nothing:
    """Takes any call, of any name."""

    def __getattr__(self, _: str) -> Any:  # noqa: ANN401 - whatever is asked for
        return self

    def __call__(self, *_: object, **__: object) -> Any:  # noqa: ANN401, D102 - itself
        return self


@pytest.mark.parametrize(
    ("held", "read"), [({}, EPOCH), ({PARTITION: EPOCH}, None), ({}, None)]
)
def test_rows_of_a_partition_that_has_left_are_not_taken_in(
    held: dict[int, int], read: int | None
) -> None:
    """The reader may still commit for what the loop has dropped, and the other way."""
    context = parts(held=held, report=Nothing())
    reader = SimpleNamespace(epoch=lambda _: read)
    intake = Intake(cast("UploadContext", context), cast("Any", reader))
    offsets = np.arange(COUNT)
    batch = ProfileBatch(PARTITION, EPOCH, offsets, offsets, [], COUNT, COUNT, 0)

    intake._add(batch, rows(0, COUNT))

    assert context.pending.waiting == 0
    assert context.pending.seen == {}


async def test_rows_that_come_while_a_batch_is_read_again_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are not taken for rows of the batch that Target has: it has failed."""
    context = parts()
    number = context.pending.hold(rows(0, COUNT), {PARTITION: SPAN})
    context.pending.add(rows(0, 4), {PARTITION: 4}, 0.0)

    async def latest(
        _: object,
        __: int,
        ranges: Sequence[tuple[int, int]],
        visitors: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        if visitors is not None:  # the second reading; the intake goes on beside it
            context.pending.add(rows(4, COUNT), {PARTITION: COUNT}, 0.0)
        return rows(ranges[0][0], ranges[0][1] + 1)

    monkeypatch.setattr(upload_reread, "latest_rows", latest)
    numbers = [number]
    await send_again(cast("UploadContext", context), {PARTITION: SPAN}, 99, numbers)
    for one in numbers:
        context.pending.ended(one, 0.0)

    sealed = context.pending.seal(9.0, at_once=True)
    assert sorted(sealed.keys["visitor"]) == sorted(rows(0, COUNT)["visitor"])


async def test_rows_are_not_sent_again_for_a_partition_that_left_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be back by then, and a newer row sent by who had it in between."""
    context = parts()
    context.pending.add(rows(0, COUNT), {PARTITION: COUNT}, 0.0)

    async def latest(*_: object) -> pl.DataFrame:
        context.pending.drop([PARTITION])
        context.held[PARTITION] += 1
        context.pending.add(rows(COUNT, COUNT), {PARTITION: COUNT}, 0.0)
        return rows(0, COUNT)

    monkeypatch.setattr(upload_reread, "latest_rows", latest)
    await send_again(cast("UploadContext", context), {PARTITION: SPAN}, 99, [])

    assert context.pending.waiting == 0


def confirmation_of(
    context: Parts, monkeypatch: pytest.MonkeyPatch
) -> tuple[Confirmation, Entry]:
    """Make a confirmation, and the entry of a batch with the first `COUNT` offsets."""

    async def latest(*_: object) -> pl.DataFrame:
        return rows(0, COUNT)

    monkeypatch.setattr(upload_reread, "latest_rows", latest)
    monkeypatch.setattr(upload_confirmation, "latest_rows", latest)
    delivery = SimpleNamespace(confirm_timeout=1_800.0, first_poll=60.0)
    target = SimpleNamespace(
        delivery=delivery, endpoint="http://here", client="acme", status_hosts=()
    )
    context.settings = SimpleNamespace(target=target)
    context.random = SimpleNamespace(random=lambda: 0.5)
    context.report = Nothing()
    found = Confirmation(cast("UploadContext", context), cast("Any", Nothing()))
    found._laps = cast("Any", Nothing())
    now = context.clock.now()
    entry = Entry("b", PARTITION, SPAN.ranges, True, COUNT, now, "id", "", now)  # noqa: FBT003 - its third field
    return found, entry


async def failed(confirmation: Confirmation, entry: Entry) -> None:
    """Take a batch up whose rows Target then says it could not apply."""
    await confirmation.take_up([entry])
    confirmation._agenda.clear()
    status = BatchStatus(Progress.COMPLETE, size=COUNT, failed=COUNT)
    await confirmation._ended(confirmation._open["b"], status)


async def work_off(confirmation: Confirmation, acts: int) -> None:
    """Do what is on the agenda, whenever it is due."""
    for _ in range(acts):
        if confirmation._agenda:
            await heapq.heappop(confirmation._agenda)[2]()


async def test_failed_rows_wait_until_their_partition_flows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Just after a take-over nothing is known of it; the entry stays open till then."""
    context = parts()
    confirmation, entry = confirmation_of(context, monkeypatch)
    await failed(confirmation, entry)

    await work_off(confirmation, 5)
    assert context.ledger.ended == []
    assert context.pending.waiting == 0

    context.pending.add(rows(COUNT, COUNT), {PARTITION: COUNT}, 0.0)
    await work_off(confirmation, 1)
    assert context.ledger.ended == []
    assert context.pending.waiting == COUNT


async def test_batches_of_a_halted_partition_are_left_to_its_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their rows cannot be sent again now; ended, they would never be."""
    context = parts()
    confirmation, entry = confirmation_of(context, monkeypatch)
    context.pending.add(rows(COUNT, COUNT), {PARTITION: COUNT}, 0.0)
    await failed(confirmation, entry)
    await work_off(confirmation, 5)
    assert context.pending.waiting == COUNT
    stage = SimpleNamespace(
        _context=context,
        _confirmation=confirmation,
        _reader=Nothing(),
        _resync=Nothing(),
        _report=Nothing(),
        _degrade=Nothing(),
    )
    halt = PartitionHalt("rejected_batch", "remedy", what="what")

    await UploadStage._halt(cast("UploadStage", stage), PARTITION, halt)
    await confirmation._close_repeated()

    assert context.pending.waiting == 0
    assert [where for where in context.ledger.ended if where] == []


async def test_an_answer_names_a_batch_that_was_only_suspected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The partition was taken up again while our own call for it was out."""
    context = parts()
    confirmation, entry = confirmation_of(context, monkeypatch)
    intent = Entry("b", PARTITION, SPAN.ranges, True, COUNT, context.clock.now())  # noqa: FBT003 - its third field
    await confirmation.take_up([intent])
    assert confirmation._open["b"].batch_id == ""

    confirmation._add([entry], 1)

    assert confirmation._open["b"].batch_id == "id"
    assert "id" in confirmation._open["b"].url
