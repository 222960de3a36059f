"""Compile the configuration against the events' columns into a `Plan`.

Enters: settings, and a sample frame that carries the event's columns and types.
Leaves: a frozen `Plan`, or one `ConfigurationError` that lists every problem. The
plan is made once at start: a batch pays only for what is configured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from consumer.config.attributes import AttributeFormat
from consumer.errors import ConfigurationError
from consumer.plan.attributes import LISTED, AttributePlan
from consumer.plan.expressions import Expression, check_row_wise, parse
from consumer.plan.values import MAX_DECIMAL_PRECISION, ValueType, value_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.config.attributes import AttributeSettings
    from consumer.config.settings import Settings

T = TypeVar("T")

INTEGER = ValueType("long", "integer")
FIELDS = "purchases.fields"
MEAN_EXTRA_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a batch needs to become profiles.

    `event_id`, `visitor`, `key` (String; what a record's key must be) and
    `event_time` (Int64, microseconds since the epoch) are expressions over an
    event's columns, `items` one that yields the list of line items, None where the
    configuration names none or no attribute reads them. `columns` are the event
    columns read with the types that were checked, `outer` those that items read.
    """

    event_id: pl.Expr
    visitor: pl.Expr
    key: pl.Expr
    event_time: pl.Expr
    items: pl.Expr | None
    columns: Mapping[str, pl.DataType]
    item_columns: frozenset[str]
    inherited: frozenset[str]
    outer: frozenset[str]
    attributes: tuple[AttributePlan, ...]

    def reading(self, source: str) -> tuple[AttributePlan, ...]:
        """Give the attributes with `from = source`, in order."""
        return tuple(a for a in self.attributes if a.source == source)

    @staticmethod
    def operands(attributes: tuple[AttributePlan, ...]) -> list[pl.Expr]:
        """Give the operand and weight expressions, named as their columns."""
        exprs = []
        for attribute in attributes:
            exprs.append(attribute.operand.alias(attribute.operand_column))
            if attribute.weight is not None and attribute.weight_column is not None:
                exprs.append(attribute.weight.alias(attribute.weight_column))
        return exprs

    def describe(self) -> list[str]:
        """Say in one line an operation what a batch goes through."""
        lines = [
            f"read      {', '.join(sorted(self.columns))}",
            f"event_id  {self.event_id}",
            f"visitor   {self.visitor}",
            f"time      {self.event_time}",
        ]
        return lines + [f"fold      {a.summary}" for a in self.attributes]


def compile_plan(settings: Settings, sample: pl.DataFrame) -> Plan:
    """Check every expression against the sample's columns and make the plan.

    Raises `ConfigurationError` with one line for each problem found.
    """
    problems: list[ConfigurationError] = []

    def attempt(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ConfigurationError as error:
            problems.extend(error.problems)
            return None

    fields = settings.purchases.fields
    event_id = attempt(
        lambda: _text_field(f"{FIELDS}.event_id", fields.event_id, sample)
    )
    visitor = attempt(
        lambda: _text_field(f"{FIELDS}.visitor_id", fields.visitor_id, sample)
    )
    key_sql = settings.purchases.key_expression
    key = visitor
    if key_sql is not None:
        key = attempt(lambda: _text_field("purchases.key_expression", key_sql, sample))
    event_time = attempt(lambda: _time_field(fields.event_time, sample))
    wants_items = any(a.from_ == "items" for a in settings.attributes.values())
    items = attempt(lambda: _items_field(fields.items, sample)) if wants_items else None
    item_sample = None if items is None else _item_sample(items[0].expr, sample)
    compiled = [
        attempt(lambda n=name, a=attribute: _attribute(n, a, sample, item_sample))  # type: ignore[misc]  # mypy infers no lambda defaults
        for name, attribute in settings.attributes.items()
        if attribute.from_ == "event" or items is not None
    ]
    if problems or not (event_id and visitor and key and event_time):
        raise ConfigurationError.of(problems)
    made = [one for one in compiled if one is not None]
    item_columns = frozenset(item_sample[1]) if item_sample else frozenset[str]()
    item_reads = frozenset[str]().union(
        *(reads for plan, reads, _ in made if plan.source == "items")
    )
    outer = frozenset[str]().union(*(outer for _, _, outer in made))
    inherited = item_reads - item_columns - {"event"}
    columns = frozenset[str]().union(
        event_id.columns,
        visitor.columns,
        key.columns,
        event_time.columns,
        items[0].columns if items else (),
        *(reads for plan, reads, _ in made if plan.source == "event"),
        inherited,
        outer,
    )
    return Plan(
        event_id=event_id.expr,
        visitor=visitor.expr,
        key=key.expr,
        event_time=event_time.expr,
        items=items[0].expr if items else None,
        columns={name: sample.schema[name] for name in sorted(columns)},
        item_columns=item_reads & item_columns,
        inherited=inherited,
        outer=outer,
        attributes=tuple(plan for plan, _, _ in made),
    )


def _text_field(key: str, sql: str, sample: pl.DataFrame) -> Expression:
    expression = parse(key, sql)
    dtype = check_row_wise(expression, sample)
    if not (dtype.is_integer() or dtype in {pl.String, pl.Categorical, pl.Enum}):
        raise ConfigurationError(
            expression.key, sql, f"text or an integer, not {dtype}; cast it"
        )
    return _with_expr(expression, expression.expr.cast(pl.String))


def _time_field(sql: str, sample: pl.DataFrame) -> Expression:
    expression = parse("purchases.fields.event_time", sql)
    dtype = check_row_wise(expression, sample)
    if not isinstance(dtype, pl.Datetime | pl.Date):
        raise ConfigurationError(
            expression.key, sql, f"a timestamp or a date, not {dtype}"
        )
    micros = expression.expr.cast(pl.Datetime("us")).to_physical()
    return _with_expr(expression, micros)


def _items_field(
    sql: str | None, sample: pl.DataFrame
) -> tuple[Expression, tuple[str, ...]]:
    key = "purchases.fields.items"
    if sql is None:
        raise ConfigurationError(
            key, None, 'the list of line items, which `from = "items"` reads'
        )
    expression = parse(key, sql)
    dtype = check_row_wise(expression, sample)
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        raise ConfigurationError(key, sql, f"a list of records, not {dtype}")
    return expression, tuple(field.name for field in dtype.inner.fields)


def _item_sample(
    items: pl.Expr, sample: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Give a sample of what item expressions see, and the items' own columns.

    An item's column shadows the event's; `event.x` reaches the event's.
    """
    listed = sample.select(items.alias("items"))["items"]
    own = listed.explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    if own.is_empty():
        own = own.clear(1)
    outer = sample[[row % len(sample) for row in range(len(own))]]
    frame = outer.with_columns(pl.struct(pl.all()).alias("event")).with_columns(own)
    return frame, tuple(own.columns)


def _attribute(
    name: str,
    settings: AttributeSettings,
    sample: pl.DataFrame,
    item_sample: tuple[pl.DataFrame, tuple[str, ...]] | None,
) -> tuple[AttributePlan, frozenset[str], frozenset[str]]:
    """Compile one attribute; also the columns it reads and those as `event.x`."""
    seen = sample
    if settings.from_ == "items" and item_sample is not None:
        seen = item_sample[0]
    reads: list[Expression] = []

    def expression(part: str, sql: str) -> tuple[Expression, pl.DataType]:
        parsed = parse(f"attributes.{name}.{part}", sql)
        reads.append(parsed)
        return parsed, check_row_wise(parsed, seen)

    taking_part = pl.lit(value=True)
    if settings.where is not None:
        where, dtype = expression("where", settings.where)
        if dtype != pl.Boolean:
            raise ConfigurationError(where.key, where.sql, f"a condition, not {dtype}")
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
            raise ConfigurationError(by.key, by.sql, f"a whole number, not {dtype}")
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
            of.key, of.sql, f"a number, text, date, time or boolean, not {dtype}"
        )
    if settings.aggregate in {"sum", "mean"} and kept.logical not in {
        "integer",
        "decimal",
    }:
        raise ConfigurationError(
            of.key,
            of.sql,
            f"whole numbers or decimals, not {dtype}: the order in which floats are "
            "added changes their sum; cast to DECIMAL(18, 2)",
        )
    if settings.aggregate in {"top", "distinct"} and kept.storage == "double":
        raise ConfigurationError(
            of.key, of.sql, "no float: it makes no dependable key; cast it"
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
    return " ".join(parts)


def _definition(settings: AttributeSettings, kept: ValueType) -> str:
    parts = ["aggregate", "of", "by", "where", "from_", "window", "time_zone"]
    if settings.aggregate == "recent":
        parts.append("n")
    defined = {part.rstrip("_"): getattr(settings, part) for part in parts}
    # A newer schema can give the same text another type, or another scale.
    defined["type"] = f"{kept.logical}({kept.scale})"
    return json.dumps({key: v for key, v in defined.items() if v is not None})


def _with_expr(expression: Expression, expr: pl.Expr) -> Expression:
    return Expression(
        expression.key, expression.sql, expr, expression.columns, expression.outer
    )
