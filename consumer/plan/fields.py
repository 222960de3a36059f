"""How the name of a field is written in an expression."""

from __future__ import annotations

from functools import cache

import polars as pl
from polars.exceptions import PolarsError


def written(path: str) -> str:
    """Write a field's path as an expression reads it, quoted where SQL needs that."""
    return ".".join(map(_written, path.split(".")))


@cache
def _written(name: str) -> str:
    try:
        plain = pl.sql_expr(f"{name} = 1").meta.eq(pl.sql_expr(f'"{name}" = 1'))
    except PolarsError:
        plain = False
    return name if plain else '"' + name.replace('"', '""') + '"'
