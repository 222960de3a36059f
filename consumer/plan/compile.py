"""Compile the configuration against the events' columns into a `Plan`.

Enters: settings, and a sample frame that carries the event's columns and types.
Leaves: a frozen `Plan`, or one `ConfigurationError` that lists every problem. The
plan is made once at start: a batch pays only for what is configured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import polars as pl

from consumer.errors import ConfigurationError
from consumer.plan.compile_attribute import compile_attribute
from consumer.plan.expressions import Expression, check_row_wise, parse, paths
from consumer.plan.keys import check_one_key
from consumer.plan.map_keys import with_keys
from consumer.plan.pseudonyms import Pseudonyms
from consumer.plan.rounding import roundings
from consumer.plan.times import time_field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.config.groups import PurchasesSettings
    from consumer.config.settings import Settings
    from consumer.plan.attributes import AttributePlan

T = TypeVar("T")

FIELDS = "purchases.fields"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a batch needs to become profiles.

    `event_id`, `visitor` (its pseudonym, where such are configured), `key` (String;
    what a record's key must be) and
    `event_time` (Int64, microseconds since the epoch) are expressions over an
    event's columns, `items` one that yields the list of line items, None where the
    configuration names none or no attribute reads them. `columns` are the event
    columns read with the types that were checked, `outer` those that items read.
    `where`, if there is one, is false or null for events that are filtered.
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
    where: pl.Expr | None = None
    without_visitor: Literal["dead_letter", "filter"] = "dead_letter"
    warnings: tuple[str, ...] = ()

    @property
    def zone(self) -> str | None:
        """The time zone of the windows' days; None where there is no window."""
        zones = (a.time_zone for a in self.attributes if a.window is not None)
        return next(zones, None)

    def reading(self, source: str) -> tuple[AttributePlan, ...]:
        """Give the attributes with `from = source`, in order."""
        return tuple(a for a in self.attributes if a.source == source)

    def reads(self) -> frozenset[tuple[str, ...]]:
        """Give the paths of the event's fields that are read; `[]` is a list's item."""
        read = [self.event_id, self.visitor, self.key, self.event_time]
        read += [] if self.where is None else [self.where]
        read += self.operands(self.reading("event"))
        found = frozenset[tuple[str, ...]]().union(*map(paths, read))
        if self.items is None:
            return found
        lists = paths(self.items)
        below = self.operands(self.reading("items"))
        of_items = frozenset[tuple[str, ...]]().union(*map(paths, below))
        own = {path for path in of_items if path[0] in self.item_columns} or {()}
        outer = {path[1:] if path[0] == "event" else path for path in of_items - own}
        return found | outer | {(*at, "[]", *path) for at in lists for path in own}

    @staticmethod
    def operands(attributes: tuple[AttributePlan, ...]) -> list[pl.Expr]:
        """Give the operand and weight expressions, named as their columns."""
        exprs = []
        for attribute in attributes:
            exprs.append(attribute.operand.alias(attribute.operand_column))
            if attribute.weight is not None and attribute.weight_column is not None:
                exprs.append(attribute.weight.alias(attribute.weight_column))
        return exprs

    def describe(self, purchases: PurchasesSettings) -> list[str]:
        """Say in one line an operation what a batch goes through, as it is configured.

        `purchases` is what the plan was made from.
        """
        fields = purchases.fields
        hashed = "" if purchases.pseudonym_key is None else ", hashed"
        unit = f", in {fields.event_time_unit}" if fields.event_time_unit else ""
        lines = [
            f"read      {', '.join(sorted(self.columns))}",
            f"event_id  {fields.event_id}: text",
            f"visitor   {fields.visitor_id}: text{hashed}",
            f"time      {fields.event_time}: datetime{unit}",
        ]
        if purchases.where is not None:
            lines.append(f"keep      {purchases.where}")
        if self.items is not None:
            lines.append(f"items     {fields.items}")
        return lines + [
            f"fold      {a.summary}: {a.shown.in_words}" for a in self.attributes
        ]


def compile_plan(settings: Settings, sample: pl.DataFrame) -> Plan:
    """Check every expression against the sample's columns and make the plan.

    Raises `ConfigurationError` with one line for each problem found.
    """
    problems: list[ConfigurationError] = []
    sample = with_keys(sample, settings)

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
        if visitor and key:
            found = (visitor, key)
            attempt(lambda: check_one_key(*found))
    event_time = attempt(
        lambda: time_field(fields.event_time, fields.event_time_unit, sample)
    )
    where_sql, where = settings.purchases.where, None
    if where_sql is not None:
        where = attempt(lambda: _condition("purchases.where", where_sql, sample))
    wants_items = any(a.from_ == "items" for a in settings.attributes.values())
    items = attempt(lambda: _items_field(fields.items, sample)) if wants_items else None
    item_sample = None if items is None else _item_sample(items[0].expr, sample)
    seen = {"event": sample, "items": item_sample[0] if item_sample else None}
    compiled = [
        attempt(partial(compile_attribute, name, attribute, frame))
        for name, attribute in settings.attributes.items()
        if (frame := seen[attribute.from_]) is not None
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
        where.columns if where else (),
        items[0].columns if items else (),
        *(reads for plan, reads, _ in made if plan.source == "event"),
        inherited,
        outer,
    )
    known, keyed = visitor.expr, key.expr
    if (secret := settings.purchases.pseudonym_key) is not None:
        known = Pseudonyms(secret).expression(known)
    if settings.rekeys:
        keyed = known
    return Plan(
        event_id=event_id.expr,
        visitor=known,
        key=keyed,
        event_time=event_time.expr,
        items=items[0].expr if items else None,
        columns={name: sample.schema[name] for name in sorted(columns)},
        item_columns=item_reads & item_columns,
        inherited=inherited,
        outer=outer,
        attributes=tuple(plan for plan, _, _ in made),
        where=None if where is None else where.expr.fill_null(value=False),
        without_visitor=settings.purchases.without_visitor,
        warnings=tuple(roundings(settings, seen)),
    )


def _text_field(key: str, sql: str, sample: pl.DataFrame) -> Expression:
    expression = parse(key, sql)
    dtype = check_row_wise(expression, sample)
    if not (dtype.is_integer() or dtype in {pl.String, pl.Categorical, pl.Enum}):
        raise ConfigurationError(
            expression.key, sql, f"expected text or an integer, not {dtype}; cast it"
        )
    return replace(expression, expr=expression.expr.cast(pl.String))


def _condition(key: str, sql: str, sample: pl.DataFrame) -> Expression:
    expression = parse(key, sql)
    dtype = check_row_wise(expression, sample)
    if dtype != pl.Boolean:
        raise ConfigurationError(key, sql, f"expected a condition, not {dtype}")
    return expression


def _items_field(
    sql: str | None, sample: pl.DataFrame
) -> tuple[Expression, tuple[str, ...]]:
    key = "purchases.fields.items"
    if sql is None:
        raise ConfigurationError(
            key, None, 'expected the list of line items, which `from = "items"` reads'
        )
    expression = parse(key, sql)
    dtype = check_row_wise(expression, sample)
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
        raise ConfigurationError(key, sql, f"expected a list of records, not {dtype}")
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
