"""Takes profiles in: rendered, encoded, and added to the pending rows.

Rows that Target cannot take are kept in the rejected rows before their offsets may be
passed. When the pending rows are full, nothing is taken, so the reader's queue fills
and its partitions are paused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.kafka.rejected_rows import RejectedRow
from consumer.stages.waiting import wait_for
from consumer.target.batch_file import REASONS, encode_rows
from consumer.target.micro_batch import SCHEMA, frame
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from consumer.kafka.profiles_batches import ProfileBatch
    from consumer.kafka.profiles_reader import ProfilesReader
    from consumer.stages.upload_context import UploadContext

_ROOM_SECONDS: Final = 1.0  # between two looks whether there is room again

log = get_logger(__name__)


class Intake:
    """Moves batches from the reader to `Pending`; `run` is its loop."""

    def __init__(self, context: UploadContext, reader: ProfilesReader) -> None:
        """Take nothing yet."""
        self._context = context
        self._reader = reader

    async def run(self) -> None:
        """Take records in, as long as there is room, until cancelled."""
        context = self._context
        metrics, pending = context.metrics, context.pending
        while True:
            began = context.clock.monotonic()
            batch = await self._reader.batch()
            context.observe("fetch", began)
            while await context.worker(lambda: pending.full):
                context.changed.clear()
                await wait_for(context.changed, context.clock, _ROOM_SECONDS)
            rows, rejected = await context.worker(self._encode, batch)
            if rejected:
                await self._reject(rejected)
            await context.worker(self._add, batch, rows)
            metrics.batches.labels("upload").inc()
            metrics.consumed_records.labels("upload").inc(batch.records)
            metrics.consumed_bytes.labels("upload").inc(batch.size)
            context.changed.set()

    def _encode(self, batch: ProfileBatch) -> tuple[pl.DataFrame, list[RejectedRow]]:
        """Render and encode, on the worker."""
        if not batch.values:
            return pl.DataFrame(schema=SCHEMA), []
        context = self._context
        began = context.clock.monotonic()
        rendered = context.renderer.rows(batch.values)
        context.observe("render", began)
        began = context.clock.monotonic()
        encoded = encode_rows(rendered)
        visitors, versions = rendered.column("visitor"), rendered.column("version")
        rows = frame(
            visitors.take(encoded.kept),
            batch.partition,
            batch.offsets[encoded.kept],
            batch.timestamps[encoded.kept],
            encoded.rows,
        )
        rejected = [
            RejectedRow(
                visitor=visitors[row].as_py() or "",
                partition=batch.partition,
                version=versions[row].as_py(),
                reason=reason,
                sentence=REASONS[reason],
            )
            for row, reason in zip(
                encoded.rejected.tolist(), encoded.reasons, strict=True
            )
        ]
        context.observe("encode", began)
        return rows, rejected

    def _add(self, batch: ProfileBatch, rows: pl.DataFrame) -> None:
        """Add rows unless the partition has left meanwhile, on the worker."""
        if self._reader.owns(batch):
            now = self._context.clock.monotonic()
            seen = {batch.partition: batch.next_offset}
            self._context.pending.add(rows, seen, now)

    async def _reject(self, rows: list[RejectedRow]) -> None:
        """Keep rows that Target cannot take before their offsets may be passed."""
        context = self._context
        await context.durably("keeping rejected rows", context.rejected.write, rows)
        for row in rows:
            context.metrics.rejected_rows.labels(row.reason).inc()
        log.warning(
            "Rows that Target cannot take were kept.",
            rows=len(rows),
            reasons=sorted({row.reason for row in rows}),
        )
