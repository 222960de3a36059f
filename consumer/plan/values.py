"""How a value is kept in a profile: a storage type and what it stands for.

Enters: the polars type that an expression yields. Leaves: a `ValueType`, the
expression that brings a column into storage, and the one that brings it back.
Storage is long, double or string, so that every fast Avro codec can carry it:
decimals are scaled longs, dates are days and instants microseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

Storage = Literal["long", "double", "string"]
Logical = Literal["integer", "decimal", "float", "text", "boolean", "date", "datetime"]

# A scaled decimal must fit a long.
MAX_DECIMAL_PRECISION = 18


@dataclass(frozen=True, slots=True)
class ValueType:
    """A storage type, its meaning, and for decimals the digits after the point."""

    storage: Storage
    logical: Logical
    scale: int = 0

    @property
    def in_words(self) -> str:
        """The meaning, with a decimal's digits after the point."""
        scaled = self.logical == "decimal"
        return f"{self.logical}({self.scale})" if scaled else self.logical

    def store(self, expr: pl.Expr) -> pl.Expr:
        """Turn a column of the logical type into its storage type."""
        stored = expr.cast(self.dtype)
        match self.logical:
            case "decimal":
                stored = (expr.cast(pl.Decimal(38, self.scale)) * 10**self.scale).cast(
                    pl.Int64
                )
            case "datetime":
                stored = expr.cast(pl.Datetime("us")).to_physical()
            case "date":
                stored = expr.to_physical().cast(pl.Int64)
            case "float":
                # -0.0 equals 0.0 but has other bytes: keep one of them.
                number = stored.fill_nan(None)
                stored = pl.when(number == 0.0).then(0.0).otherwise(number)
            case _:
                pass
        return stored

    def load(self, expr: pl.Expr) -> pl.Expr:
        """Turn a column of the storage type back into the logical one."""
        match self.logical:
            case "decimal":
                # A quotient has the dividend's scale.
                scaled = expr.cast(pl.Decimal(38, self.scale))
                return scaled / pl.lit(10**self.scale).cast(pl.Decimal(38, 0))
            case "datetime":
                return expr.cast(pl.Datetime("us"))
            case "date":
                return expr.cast(pl.Int32).cast(pl.Date)
            case "boolean":
                return expr.cast(pl.Boolean)
            case _:
                return expr

    @property
    def dtype(self) -> pl.DataType:
        """The polars type of the storage."""
        return {"long": pl.Int64(), "double": pl.Float64(), "string": pl.String()}[
            self.storage
        ]


def value_type(  # noqa: PLR0911 - one return a kind of type
    dtype: pl.DataType,
) -> ValueType | None:
    """Find how to keep values of a polars type; None where a profile cannot."""
    if isinstance(dtype, pl.Decimal):
        precision = dtype.precision or MAX_DECIMAL_PRECISION + 1
        scale = dtype.scale
        fits = precision <= MAX_DECIMAL_PRECISION or scale <= MAX_DECIMAL_PRECISION
        return ValueType("long", "decimal", scale) if fits else None
    if dtype in {pl.UInt64, pl.Int128}:
        return None
    if dtype.is_integer():
        return ValueType("long", "integer")
    if dtype.is_float():
        return ValueType("double", "float")
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return ValueType("string", "text")
        case pl.Boolean():
            return ValueType("long", "boolean")
        case pl.Date():
            return ValueType("long", "date")
        case pl.Datetime():
            return ValueType("long", "datetime")
        case _:
            return None
