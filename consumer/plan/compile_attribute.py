"""Compile one configured attribute against the columns that it may read.

Enters: its settings and a sample of the columns. Leaves: an `AttributePlan` and the
columns it reads, or a `ConfigurationError` that names the key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from consumer.config.attributes import AttributeFormat
from consumer.errors import ConfigurationError
from consumer.plan.attributes import LISTED, AttributePlan
from consumer.plan.expressions import Expression, check_row_wise, parse
from consumer.plan.values import MAX_DECIMAL_PRECISION, ValueType, value_type

if TYPE_CHECKING:
    from consumer.config.attributes import AttributeSettings

INTEGER = ValueType("long", "integer")
MEAN_EXTRA_DIGITS = 4


def compile_attribute(
    name: str,
    settings: AttributeSettings,
    seen: pl.DataFrame,
) -> tuple[AttributePlan, frozenset[str], frozenset[str]]:
    """Compile one attribute; also the columns it reads and those as `event.x`.

    `seen` is a sample of what its expressions see: events, or items in their events.
    """
    reads: list[Expression] = []

    def expression(part: str, sql: str) -> tuple[Expression, pl.DataType]:
        parsed = parse(f"attributes.{name}.{part}", sql)
        reads.append(parsed)
        return parsed, check_row_wise(parsed, seen)

    taking_part = pl.lit(value=True)
    if settings.where is not None:
        where, dtype = expression("where", settings.where)
        if dtype != pl.Boolean:
            raise ConfigurationError(
                where.key, where.sql, f"expected a condition, not {dtype}"
            )
        taking_part = where.expr.fill_null(value=False)
    kept, operand = INTEGER, pl.lit(1, pl.Int64)
    if settings.of is not None:
        of, dtype = expression("of", settings.of)
        kept = _kept(settings, of, dtype)
        operand = kept.store(of.expr)
        if settings.aggregate == "count":
            taking_part &= of.expr.is_not_null()
            kept, operand = INTEGER, pl.lit(1, pl.Int64)
    weight = None
    if settings.by is not None:
        by, dtype = expression("by", settings.by)
        if not dtype.is_integer():
            raise ConfigurationError(
                by.key, by.sql, f"expected a whole number, not {dtype}"
            )
        weight = by.expr.cast(pl.Int64)
        taking_part &= weight.is_not_null()
        if settings.aggregate == "count":
            operand, weight = weight, None
    shown = _shown(settings.aggregate, kept)
    plan = AttributePlan(
        name=name,
        aggregate=settings.aggregate,
        source=settings.from_,
        operand=pl.when(taking_part).then(operand),
        weight=None if weight is None else pl.when(taking_part).then(weight),
        kept=kept,
        shown=shown,
        n=settings.n or 1,
        max_keys=settings.max_keys,
        window=settings.window,
        time_zone=settings.time_zone,
        render=_render(name, settings, shown),
        format=_format(name, settings, shown),
        sentinel=settings.sentinel,
        summary=_summary(name, settings),
        definition=_definition(settings, kept),
    )
    columns = frozenset[str]().union(*(one.columns for one in reads))
    outer = frozenset[str]().union(*(one.outer for one in reads))
    return plan, columns, outer


def _kept(settings: AttributeSettings, of: Expression, dtype: pl.DataType) -> ValueType:
    kept = value_type(dtype)
    if kept is None:
        raise ConfigurationError(
            of.key,
            of.sql,
            f"expected a number, text, date, time or boolean, not {dtype}",
        )
    if settings.aggregate in {"sum", "mean"} and kept.logical not in {
        "integer",
        "decimal",
    }:
        why = ""
        if dtype.is_float():
            why = " (the order in which floats are added changes their sum)"
        raise ConfigurationError(
            of.key,
            of.sql,
            f"expected whole numbers or decimals, not {dtype}{why}; cast to "
            "DECIMAL(18, 2)",
        )
    if settings.aggregate in {"top", "distinct"} and kept.storage == "double":
        raise ConfigurationError(
            of.key, of.sql, "expected no float: it makes no dependable key; cast it"
        )
    return kept


def _shown(aggregate: str, kept: ValueType) -> ValueType:
    if aggregate in {"count", "distinct"}:
        return INTEGER
    if aggregate == "mean":
        scale = min(kept.scale + MEAN_EXTRA_DIGITS, MAX_DECIMAL_PRECISION)
        return ValueType("long", "decimal", scale)
    return kept


def _render(name: str, settings: AttributeSettings, shown: ValueType) -> pl.Expr | None:
    if settings.render is None:
        return None
    expression = parse(f"attributes.{name}.render", settings.render)
    ones = pl.DataFrame({"value": ["1", "2"] if shown.storage == "string" else [1, 2]})
    sample = ones.select(shown.load(pl.col("value").cast(shown.dtype)).alias("value"))
    check_row_wise(expression, sample)
    return expression.expr


def _format(
    name: str, settings: AttributeSettings, shown: ValueType
) -> AttributeFormat:
    several = settings.aggregate in LISTED and settings.n != 1
    if (parsed := settings.parsed_format) is not None:
        if several and parsed.kind != "list":
            raise ConfigurationError(
                f"attributes.{name}.format",
                settings.format,
                'several values make one text: a list such as "list(;)"',
            )
        return parsed
    if several:
        return AttributeFormat("list", separator=",")
    if shown.logical == "decimal":
        return AttributeFormat("decimal", scale=shown.scale)
    if shown.logical == "float":
        return AttributeFormat("text")
    return AttributeFormat(shown.logical)


def _summary(name: str, settings: AttributeSettings) -> str:
    parts = [f"{name} = {settings.aggregate}({settings.of or '*'})"]
    if settings.by:
        parts.append(f"by {settings.by}")
    if settings.from_ == "items":
        parts.append("over items")
    if settings.where:
        parts.append(f"where {settings.where}")
    if settings.window:
        parts.append(f"over {settings.window} days in {settings.time_zone}")
    return " ".join(parts)


def _definition(settings: AttributeSettings, kept: ValueType) -> str:
    parts = ["aggregate", "of", "by", "where", "from_", "window", "time_zone"]
    if settings.aggregate == "recent":
        parts.append("n")
    defined = {part.rstrip("_"): getattr(settings, part) for part in parts}
    # A newer schema can give the same text another type, or another scale.
    defined["type"] = f"{kept.logical}({kept.scale})"
    return json.dumps({key: v for key, v in defined.items() if v is not None})
