"""Values in storage and back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.plan.values import ValueType, value_type


def stored(series: pl.Series) -> tuple[ValueType, pl.Series]:
    """Bring a column into storage."""
    kept = value_type(series.dtype)
    assert kept is not None
    frame = series.alias("x").to_frame()
    return kept, frame.select(kept.store(pl.col("x")).alias("x"))["x"]


def loaded(kept: ValueType, series: pl.Series) -> pl.Series:
    """Bring a column back."""
    return series.alias("x").to_frame().select(kept.load(pl.col("x")).alias("x"))["x"]


@given(st.lists(st.none() | st.integers(-(10**17), 10**17)), st.integers(0, 18))
def test_decimals_come_back_exactly(numbers: list[int | None], scale: int) -> None:
    """Every digit of a decimal survives storage, at every scale."""
    decimals = [None if n is None else Decimal(n).scaleb(-scale) for n in numbers]
    series = pl.Series(decimals, dtype=pl.Decimal(18, scale))
    kept, found = stored(series)
    assert kept == ValueType("long", "decimal", scale)
    assert found.to_list() == numbers
    assert loaded(kept, found).to_list() == decimals


ROUND_TRIPS: dict[str, tuple[pl.Series, list[Any]]] = {
    "dates": (
        pl.Series([date(1, 1, 1), date(1969, 12, 31), None, date(9999, 12, 31)]),
        [-719162, -1, None, 2932896],
    ),
    "milliseconds": (
        pl.Series([-1, 0, None]).cast(pl.Datetime("ms")),
        [-1000, 0, None],
    ),
    "nanoseconds": (pl.Series([-1000, 1000]).cast(pl.Datetime("ns")), [-1, 1]),
    "booleans": (pl.Series([True, False, None]), [1, 0, None]),
    "texts": (pl.Series(["", "ä", None]), ["", "ä", None]),
    "small numbers": (pl.Series([-128, 127, None], dtype=pl.Int8), [-128, 127, None]),
    "floats": (pl.Series([1.5, -2.25, None]), [1.5, -2.25, None]),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_values_come_back_from_storage(kind: str) -> None:
    """What is stored is what is documented, and loads as it was."""
    series, expected = ROUND_TRIPS[kind]
    kept, found = stored(series)
    assert found.to_list() == expected
    assert loaded(kept, found).to_list() == series.to_list()


def test_floats_keep_one_zero_and_no_nan() -> None:
    """-0.0 is stored as 0.0 and NaN as nothing, in columns of any length."""
    for count in (1, 2, 7):
        _, found = stored(pl.Series([-0.0, float("nan")] * count))
        assert [str(one) for one in found.to_list()] == ["0.0", "None"] * count


def test_a_decimal_that_fits_no_long_fails() -> None:
    """A value is never cut: what does not fit is an error of its record."""
    series = pl.Series([Decimal(10) ** 18], dtype=pl.Decimal(38, 2))
    with pytest.raises(pl.exceptions.InvalidOperationError):
        stored(series)


def test_a_moment_is_microseconds() -> None:
    """Instants are kept in microseconds, whatever their unit was."""
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    _, found = stored(pl.Series([moment]).cast(pl.Datetime("ms", "UTC")))
    assert found.to_list() == [int(moment.timestamp()) * 1_000_000]
