"""Partitions of `profiles` that come, leave and are lost, for the upload stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.kafka.profiles_batches import Assigned, Lost, Revoked
from consumer.stages.waiting import wait_for
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from consumer.kafka.profiles_reader import ProfilesReader
    from consumer.stages.upload_confirmation import Confirmation
    from consumer.stages.upload_context import UploadContext
    from consumer.stages.upload_delivery import Delivery
    from consumer.stages.upload_resync import Resync

HANDSHAKE_SECONDS: Final = 5.0
"""How long a partition that leaves waits for the calls under way with its rows."""

log = get_logger(__name__)


class Assignment:
    """Takes partitions over and gives them up; `run` is its loop."""

    def __init__(  # noqa: PLR0913 - all who are told
        self,
        context: UploadContext,
        reader: ProfilesReader,
        confirmation: Confirmation,
        delivery: Delivery,
        resync: Resync,
        *,
        left: Callable[[int], None],
    ) -> None:
        """Own nothing yet; `left` is told each partition that has gone."""
        self._context = context
        self._reader = reader
        self._confirmation = confirmation
        self._delivery = delivery
        self._resync = resync
        self._left = left

    async def run(self) -> None:
        """Answer to every change of assignment until cancelled."""
        while True:
            change = await self._reader.change()
            kind = type(change).__name__.lower()
            self._context.metrics.rebalances.labels("upload", kind).inc()
            log.info(
                "Partitions changed hands.", kind=kind, partitions=change.partitions
            )
            match change:
                case Assigned(epochs):
                    await self._take_over(epochs)
                case Revoked():
                    await self._give_up(change)
                case Lost(partitions):
                    await self._drop(partitions)

    async def _take_over(self, epochs: Mapping[int, int]) -> None:
        """Read the ledger, hold back what is under way, then let records flow."""
        context = self._context
        context.held.update(epochs)
        partitions = epochs.keys()
        for partition in partitions:
            context.report.assigned(partition)
        found = await context.durably(
            "reading the uploads ledger", context.ledger.read_open, partitions
        )
        await self._confirmation.take_up(found.entries)
        context.calling.update(partitions)
        for partition, halt in found.unreadable.items():
            await context.halt(partition, halt)
        flowing = {p: at for p, at in epochs.items() if p not in found.unreadable}
        self._reader.begin(flowing)
        self._resync.begin(flowing)

    async def _give_up(self, change: Revoked) -> None:
        """Start no more calls for them, let running ones end, commit, forget."""
        context = self._context
        leaving = set(change.partitions)
        context.calling.difference_update(leaving)
        until = context.clock.monotonic() + HANDSHAKE_SECONDS
        while any(not rows.isdisjoint(leaving) for rows in self._delivery.posting()):
            left = until - context.clock.monotonic()
            context.changed.clear()
            if left <= 0 or not await wait_for(context.changed, context.clock, left):
                break
        offsets = await context.worker(context.pending.next_offsets)
        change.leave({p: offsets[p] for p in leaving if p in offsets})
        await self._drop(leaving)

    async def _drop(self, partitions: Collection[int]) -> None:
        context = self._context
        context.calling.difference_update(partitions)
        for partition in partitions:
            context.held.pop(partition, None)
        self._confirmation.drop(partitions)
        self._resync.drop(partitions)
        await context.worker(context.pending.drop, partitions)
        for partition in partitions:
            context.report.forget(partition)
            self._left(partition)
        context.changed.set()
