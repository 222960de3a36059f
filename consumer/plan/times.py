"""The time of an event, from whatever holds it: to microseconds since 1970, in UTC.

A timestamp or a date is taken as it is, a text as ISO 8601, a number in the unit that
the configuration says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.errors import ConfigurationError
from consumer.plan.expressions import check_row_wise, parse

if TYPE_CHECKING:
    from consumer.plan.expressions import Expression

KEY: Final = "purchases.fields.event_time"
# Date, hour and minute, second with its fraction (up to a microsecond counts), offset.
ISO: Final = (
    r"^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,6})\d*)?"
    r" ?(?:(Z)|([+-]\d\d):?(\d\d)?)?)?$"
)
FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.f%z"
MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
# Beyond it a number of that unit does not fit into microseconds.
LONGEST: Final = 2**63 - 1


def time_field(sql: str, unit: str | None, sample: pl.DataFrame) -> Expression:
    """Compile `event_time`; raises `ConfigurationError` where it is no time."""
    expression = parse(KEY, sql)
    dtype = check_row_wise(expression, sample)
    found = expression.expr
    if (unit is not None) != dtype.is_integer():
        allowed = (
            'expected `event_time_unit` = "s", "ms" or "us" beside it: it is a number '
            f"({dtype})"
            if unit is None and dtype.is_integer()
            else "expected no `event_time_unit`, which is for whole numbers, not "
            f"{dtype}"
        )
        if dtype.is_integer() or unit is not None:
            raise ConfigurationError(KEY, sql, allowed)
    if unit is not None:
        number, factor = found.cast(pl.Int64), MICROSECONDS[unit]
        fits = number.is_between(-(LONGEST // factor), LONGEST // factor)
        # What does not fit is out of range, as the mapping will say.
        far = pl.lit(LONGEST, pl.Int64)
        micros = pl.when(number.is_null() | fits).then(number * factor).otherwise(far)
        return replace(expression, expr=micros)
    if dtype == pl.String:
        return replace(expression, expr=from_iso(found).to_physical())
    if not isinstance(dtype, pl.Datetime | pl.Date):
        allowed = (
            "expected a timestamp, a date, an ISO 8601 text or a whole number, not "
            f"{dtype}"
        )
        raise ConfigurationError(KEY, sql, allowed)
    return replace(expression, expr=found.cast(pl.Datetime("us")).to_physical())


def from_iso(text: pl.Expr) -> pl.Expr:
    """Read ISO 8601 texts; one without an offset is UTC, what is no time fails."""

    def part(group: int, absent: str) -> pl.Expr:
        found = text.str.extract(ISO, group)
        return pl.when(found.is_null()).then(pl.lit(absent)).otherwise(found)

    offset = (
        pl.when(text.str.extract(ISO, 6).is_null())
        .then(pl.lit("+0000"))
        .otherwise(pl.concat_str(text.str.extract(ISO, 6), part(7, "00")))
    )
    written = pl.concat_str(
        text.str.extract(ISO, 1),
        pl.lit("T"),
        part(2, "00:00"),
        part(3, ":00"),
        pl.lit("."),
        part(4, "0"),
        offset,
    )
    # Where it is no such text at all, the text itself is what fails.
    tried = pl.when(text.is_null()).then(None).otherwise(pl.coalesce(written, text))
    return tried.str.to_datetime(FORMAT, time_unit="us", time_zone="UTC", strict=True)
