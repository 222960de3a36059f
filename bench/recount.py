"""The recount: what every visitor's profile must be, straight from the columns.

Written in polars for the bench alone; it shares no code with the service. A recount is
a frame with the columns `COLUMNS`, one row a visitor, sorted by visitor. Money is in
minor units; `units` lists `category:units` by name, `skus` the latest, newest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bench.job import LATEST_SKUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

COLUMNS: Final = {
    "visitor": pl.String,
    "orders": pl.Int64,
    "returns": pl.Int64,
    "revenue": pl.Int64,
    "last_purchase": pl.Int64,  # milliseconds since the epoch
    "last_store": pl.String,
    "largest_order": pl.Int64,
    "units": pl.String,
    "skus": pl.String,
}
_READ: Final = (
    *("event_id", "event_type", "visitor_id", "store_id"),
    *("occurred_at", "total_minor", "items"),
)


def recount(parts: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    """Compute each visitor's profile from all events at once."""
    frames = [pl.DataFrame(part.select(_READ)) for part in parts]
    events = pl.concat(frames).rename({"visitor_id": "visitor"})
    events = events.sort("visitor", "occurred_at", "event_id")
    sale = pl.col("event_type") == "SALE"
    total = pl.col("total_minor")
    profiles = events.group_by("visitor", maintain_order=True).agg(
        orders=sale.sum().cast(pl.Int64),
        returns=(~sale).sum().cast(pl.Int64),
        revenue=pl.when(sale).then(total).otherwise(-total).sum(),
        last_purchase=pl.col("occurred_at").last().dt.timestamp("ms"),
        last_store=pl.col("store_id").last(),
        largest_order=total.max(),
    )
    items = (
        events.select("visitor", "items")
        .explode("items", empty_as_null=False, keep_nulls=False)
        .unnest("items")
    )
    units = (
        items.group_by("visitor", "category")
        .agg(pl.col("quantity").cast(pl.Int64).sum())
        .sort("visitor", "category")
        .group_by("visitor", maintain_order=True)
        .agg(units=pl.format("{}:{}", "category", "quantity").str.join(","))
    )
    skus = items.group_by("visitor", maintain_order=True).agg(
        skus=pl.col("sku").tail(LATEST_SKUS).reverse().str.join(",")
    )
    joined = profiles.join(units, on="visitor").join(skus, on="visitor")
    return joined.select(pl.col(n).cast(t) for n, t in COLUMNS.items()).sort("visitor")


def difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Say how profiles differ from the recount; empty where they do not."""
    found = found.select(list(COLUMNS)).sort("visitor")
    if len(found) != len(expected):
        return f"{len(found):,} profiles instead of {len(expected):,}"
    for name in COLUMNS:
        differs = found[name].ne_missing(expected[name])
        if differs.any():
            row = differs.arg_max() or 0
            return (
                f"{differs.sum():,} profiles differ in {name}; "
                f"{expected['visitor'][row]} has {found[name][row]!r} instead of "
                f"{expected[name][row]!r}"
            )
    return ""
