"""Which attributes round what they add up: floats and texts that are made decimals.

`CAST(total AS DECIMAL(18, 2))` of a double states the digits that are kept, and the
rest is rounded, halves to even. Money in floats needs that, and `check` says it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.config.settings import Settings


def roundings(
    settings: Settings, seen: Mapping[str, pl.DataFrame | None]
) -> Iterator[str]:
    """Say it of each expression with such a cast; `seen` are samples by source."""
    for name, attribute in settings.attributes.items():
        frame = seen[attribute.from_]
        for part, sql in (("of", attribute.of), ("by", attribute.by)):
            if sql is None or frame is None:
                continue
            tree = json.loads(pl.sql_expr(sql).meta.serialize(format="json"))
            for scale, dtype in _casts(tree, frame):
                what = "floats" if dtype.is_float() else "texts"
                yield (
                    f"attributes.{name}.{part} makes decimals of {what}: digits after "
                    f"the first {scale} behind the point are rounded."
                )


def _casts(node: Any, frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataType]]:  # noqa: ANN401 - JSON
    if isinstance(node, list):
        for one in node:
            yield from _casts(one, frame)
    if not isinstance(node, dict):
        return
    cast = node.get("Cast")
    if isinstance(cast, dict):
        kind = cast["dtype"].get("Literal") if isinstance(cast["dtype"], dict) else None
        if isinstance(kind, dict) and "Decimal" in kind:
            inner = pl.Expr.deserialize(
                json.dumps(cast["expr"]).encode(), format="json"
            )
            dtype = _dtype(inner, frame)
            if dtype is not None and (dtype.is_float() or dtype == pl.String):
                yield int(kind["Decimal"][1]), dtype
    for one in node.values():
        yield from _casts(one, frame)


def _dtype(expr: pl.Expr, frame: pl.DataFrame) -> pl.DataType | None:
    try:
        return frame.clear().select(expr.alias("value"))["value"].dtype
    except PolarsError:
        return None
