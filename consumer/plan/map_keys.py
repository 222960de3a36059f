"""Maps as records of the keys that expressions read: `tags.tier` reads one key.

Enters: a sample of an event's columns, and what expressions say. Leaves: the sample
with a record in place of each map whose keys are read, as `events.resolve` makes it of
what was decoded. A map that is also read whole, or what it stands in, stays a map.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PolarsError

from consumer.plan.expressions import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars._typing import PolarsDataType

    from consumer.config.settings import Settings


def with_keys(sample: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Give the sample as expressions see it."""
    read = frozenset[tuple[str, ...]]().union(*map(_paths, _texts(settings)))
    whole = frozenset(path[-1] for path in read)
    below = frozenset(pair for path in read for pair in pairwise(path))
    schema = {
        name: _type(dtype, name, whole, below) for name, dtype in sample.schema.items()
    }
    if schema == sample.schema:
        return sample
    return pl.DataFrame(sample.to_dicts(), schema=schema)


def _texts(settings: Settings) -> Iterator[str | None]:
    """Give every expression over an event or an item, but the one that gives items."""
    purchases = settings.purchases
    fields = purchases.fields
    yield from (fields.event_id, fields.visitor_id, fields.event_time)
    yield from (purchases.key_expression, purchases.where)
    for attribute in settings.attributes.values():
        yield from (attribute.of, attribute.by, attribute.where)


def _paths(text: str | None) -> frozenset[tuple[str, ...]]:
    try:
        return frozenset() if text is None else paths(pl.sql_expr(text))
    except (PolarsError, ValueError):
        return frozenset()  # what is no expression is told where it is parsed


def _type(
    dtype: PolarsDataType,
    name: str,
    whole: frozenset[str],
    below: frozenset[tuple[str, str]],
) -> PolarsDataType:
    """Give the type of what is called `name`, with records in place of maps."""
    if name in whole:
        return dtype
    if isinstance(dtype, pl.Struct):
        fields = {f.name: _type(f.dtype, f.name, whole, below) for f in dtype.fields}
        return pl.Struct(fields)
    if isinstance(dtype, pl.List):
        return pl.List(_type(dtype.inner, name, whole, below))
    keys = sorted(key for parent, key in below if parent == name)
    if isinstance(dtype, pl.Map) and keys:
        return pl.Struct({key: _type(dtype.value, key, whole, below) for key in keys})
    return dtype
