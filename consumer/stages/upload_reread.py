"""Reads profiles again for rows whose bytes are no longer kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from consumer.stages.upload_rendering import encoded_rows, without_put_down
from consumer.target.micro_batch import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.stages.upload_context import UploadContext
    from consumer.target.offsets import Span


async def latest_rows(
    context: UploadContext,
    partition: int,
    ranges: Sequence[tuple[int, int]],
    visitors: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return each visitor's latest row within the ranges, of those asked for.

    `visitors` has one column of that name; None asks for all. Rows that Target cannot
    take are left out: they were told of when they were first read. There are none once
    the partition was given up.
    """
    doing = "reading profiles again"
    read = partial(context.durably, doing, _read, context, partition, ranges, visitors)
    found = await context.readable(partition, read)
    return pl.DataFrame(schema=SCHEMA) if found is None else found


async def send_again(
    context: UploadContext,
    spans: Mapping[int, Span],
    origin: int,
    numbers: list[int],
    only: Sequence[str] = (),
) -> None:
    """Put the latest rows of the visitors within `spans` among the waiting rows.

    The visitors are held back meanwhile, under numbers that are added to `numbers`, so
    that no newer row of theirs can be sent between the reading and the adding; the
    caller frees them. A partition that leaves meanwhile is left to its next owner, and
    one of which nothing was taken in yet left out. `only` names the visitors concerned,
    as Target lists them; where not all of these are found, it means others than we do,
    and all rows are sent.
    """
    pending = context.pending
    epochs = dict(context.held)
    visitors = {}
    for partition, span in spans.items():
        keys = await latest_rows(context, partition, span.ranges)
        visitors[partition] = keys.select("visitor")
        numbers.append(await context.worker(pending.hold, keys, {}))
    listed = {part: _listed(keys, only) for part, keys in visitors.items()}
    if only and sum(map(len, listed.values())) == len(set(only)):
        visitors = listed
    # Rows that come from now on are not taken for the batch's own.
    seen = await context.worker(pending.uncover, numbers)
    for partition, asked in visitors.items():
        if partition in seen:
            stretch = [(spans[partition].ranges[0][0], seen[partition] - 1)]
            rows = await latest_rows(context, partition, stretch, asked)
            if context.held.get(partition) == epochs.get(partition):
                now = context.clock.monotonic()
                await context.worker(pending.again, rows, origin, now)


def _read(
    context: UploadContext,
    partition: int,
    ranges: Sequence[tuple[int, int]],
    visitors: pl.DataFrame | None,
) -> pl.DataFrame:
    latest = pl.DataFrame(schema=SCHEMA)
    for batch in context.ranges.read(partition, ranges):
        rendered = context.renderer.rows(batch.values)
        rows, _ = encoded_rows(
            context, rendered, partition, batch.offsets, batch.timestamps
        )
        rows = without_put_down(context, partition, rows)
        if visitors is not None:
            rows = rows.join(visitors, "visitor", "semi", maintain_order="left")
        latest = pl.concat([latest, rows]).unique(
            "visitor", keep="last", maintain_order=True
        )
    return latest


def _listed(visitors: pl.DataFrame, only: Sequence[str]) -> pl.DataFrame:
    return visitors.filter(pl.col("visitor").is_in(list(only)))


async def versions(context: UploadContext, partition: int, offset: int) -> list[int]:
    """Return the version of the profile at an offset; none if compaction took it."""
    return await context.durably(
        "reading a profile again", _versions, context, partition, offset
    )


def _versions(context: UploadContext, partition: int, offset: int) -> list[int]:
    found: list[int] = []
    for batch in context.ranges.read(partition, [(offset, offset)]):
        found += context.renderer.rows(batch.values).column("version").to_pylist()
    return found
