"""Takes profiles in: rendered, encoded, and added to the pending rows.

Rows that Target cannot take are kept in the rejected rows before their offsets may be
passed. When the pending rows are full, nothing is taken, so the reader's queue fills
and its partitions are paused.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.stages.upload_rendering import encoded_rows, reject
from consumer.stages.waiting import wait_for
from consumer.target.batch_file import REASONS
from consumer.target.micro_batch import SCHEMA
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.kafka.profiles_batches import ProfileBatch
    from consumer.kafka.profiles_reader import ProfilesReader
    from consumer.kafka.rejected_rows import RejectedRow
    from consumer.stages.upload_context import UploadContext
    from consumer.telemetry.laps import Laps

_ROOM_SECONDS: Final = 1.0  # between two looks whether there is room again

log = get_logger(__name__)


class Intake:
    """Moves batches from the reader to `Pending`; `run` is its loop."""

    def __init__(self, context: UploadContext, reader: ProfilesReader) -> None:
        """Take nothing yet."""
        self._context = context
        for reason in REASONS:  # the first one rejected must show as an increase
            context.metrics.rejected_rows.labels(reason)
        self._reader = reader

    async def run(self) -> None:
        """Take records in, as long as there is room, until cancelled."""
        metrics, clock = self._context.metrics, self._context.clock
        with metrics.laps("intake", "idle", clock.monotonic) as laps:
            while True:
                laps.to("idle")
                batch = await self._reader.batch()
                await self._take(batch, laps)

    async def _take(self, batch: ProfileBatch, laps: Laps) -> None:
        """Take one batch in, once there is room."""
        context = self._context
        metrics, pending = context.metrics, context.pending
        laps.to("queue")
        while await context.worker(lambda: pending.full):
            with laps.step("backpressure"):
                context.changed.clear()
                await wait_for(context.changed, context.clock, _ROOM_SECONDS)
        laps.to("queue", whole=True)
        read = partial(context.worker, self._encode, batch)
        found = await context.readable(batch.partition, read)
        if found is None:
            return
        rows, rejected, seconds = found
        laps.divide(seconds)
        if rejected:
            laps.to("reject")
            await reject(context, rejected)
        laps.to("queue")
        await context.worker(self._add, batch, rows)
        metrics.batches.labels("upload").inc()
        metrics.consumed_records.labels("upload").inc(batch.records)
        metrics.consumed_bytes.labels("upload").inc(batch.size)
        context.changed.set()

    def _encode(
        self, batch: ProfileBatch
    ) -> tuple[pl.DataFrame, list[RejectedRow], dict[str, float]]:
        """Render and encode, on the worker; returns the seconds of both, too."""
        if not batch.values:
            return pl.DataFrame(schema=SCHEMA), [], {}
        context = self._context
        began = context.clock.monotonic()
        rendered = context.renderer.rows(batch.values)
        between = context.clock.monotonic()
        rows, rejected = encoded_rows(
            context, rendered, batch.partition, batch.offsets, batch.timestamps
        )
        visitors, versions = rendered.column("visitor"), rendered.column("version")
        self._check_versions(batch, visitors, versions)
        ended = context.clock.monotonic()
        return rows, rejected, {"render": between - began, "encode": ended - between}

    def _check_versions(
        self, batch: ProfileBatch, visitors: pa.Array, versions: pa.Array
    ) -> None:
        """Say so if a profile went back: then something writes that must not."""
        found = self._context.report.regressions(visitors, versions, batch.values)
        if found:
            log.error(
                "Profiles went back behind a version that was written before. Look for "
                "a second writer of the topic of profiles.",
                partition=batch.partition,
                next_offset=batch.next_offset,
                profiles=found,
            )

    def _add(self, batch: ProfileBatch, rows: pl.DataFrame) -> None:
        """Add rows unless the partition has left meanwhile, on the worker.

        Neither a loss that the loop has yet to hear of may be behind it, nor one whose
        rows the loop has let go of while the reader still commits for it.
        """
        number = batch.partition
        known, true = self._context.held.get(number), self._reader.epoch(number)
        if batch.epoch == known == true:
            now = self._context.clock.monotonic()
            seen = {batch.partition: batch.next_offset}
            self._context.report.taken(
                batch.partition, batch.next_offset, batch.timestamps
            )
            self._context.pending.add(rows, seen, now)
