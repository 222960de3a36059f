"""Rendered profiles to rows for files, and what becomes of those that are none.

Shared by the stream, by what is read again and by what is sent anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from consumer.kafka.rejected_rows import RejectedRow
from consumer.target.batch_file import REASONS, encode_rows
from consumer.target.micro_batch import frame
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from consumer.stages.upload_context import UploadContext

log = get_logger(__name__)


def encoded_rows(
    context: UploadContext,
    rendered: pa.RecordBatch,
    partition: int,
    offsets: NDArray[np.int64],
    timestamps: NDArray[np.int64],
) -> tuple[pl.DataFrame, list[RejectedRow]]:
    """Encode one partition's rendered profiles; tell those that Target cannot take."""
    reject_long = context.settings.target.batch.long_values == "reject"
    encoded = encode_rows(rendered, reject_long_values=reject_long)
    visitors, versions = rendered.column("visitor"), rendered.column("version")
    rows = frame(
        visitors.take(encoded.kept),
        partition,
        offsets[encoded.kept],
        timestamps[encoded.kept],
        encoded.rows,
    )
    for what, found in encoded.warnings.items():
        context.metrics.row_warnings.labels(what).inc(found)
    rejected = [
        RejectedRow(
            visitor=visitors[row].as_py() or "",
            partition=partition,
            version=versions[row].as_py(),
            reason=reason,
            sentence=REASONS[reason],
        )
        for row, reason in zip(encoded.rejected.tolist(), encoded.reasons, strict=True)
    ]
    return rows, rejected


def without_put_down(
    context: UploadContext, partition: int, rows: pl.DataFrame
) -> pl.DataFrame:
    """Leave out rows that Target has refused: they wait for a change, or a request."""
    if refused := context.put_down.get(partition):
        return rows.filter(~pl.col("offset").is_in(sorted(refused)))
    return rows


async def reject(context: UploadContext, rows: Sequence[RejectedRow]) -> None:
    """Keep rows that Target cannot take before their offsets may be passed."""
    await context.durably("keeping rejected rows", context.rejected.write, rows)
    for row in rows:
        context.metrics.rejected_rows.labels(row.reason).inc()
    log.warning(
        "Rows that Target cannot take were kept.",
        rows=len(rows),
        reasons=sorted({row.reason for row in rows}),
    )
