"""Money in floats and texts: rounded to stated digits, and said."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from consumer.config.settings import Settings
from consumer.plan.compile import compile_plan
from consumer.plan.expressions import evaluate

SAMPLE = pl.DataFrame(
    {
        "event_id": ["a", "b"],
        "visitor_id": ["a", "b"],
        "occurred_at": ["2026-01-31", "2026-02-01"],
        "price": [1.25, 0.125],
        "text": ["12.34", "0.1"],
        "cents": [1, 2],
        "sums": [{"total": 0.5}, {"total": 1.5}],
    }
)


def warnings(of: str) -> tuple[str, ...]:
    """Compile a sum and give what check says of it."""
    settings: dict[str, Any] = {
        "purchases": {"topic": "p"},
        "target": {"client": "c"},
        "attributes": {"x": {"aggregate": "sum", "of": of}},
    }
    return compile_plan(Settings.model_validate(settings), SAMPLE).warnings


@pytest.mark.parametrize(
    ("of", "word"),
    [
        ("CAST(price AS DECIMAL(18, 2))", "floats"),
        ("CAST(sums.total * 2 AS DECIMAL(18, 3))", "first 3"),
        ("CASE WHEN cents > 1 THEN CAST(text AS DECIMAL(18, 2)) END", "texts"),
    ],
)
def test_rounding_is_said_at_check(of: str, word: str) -> None:
    """The warning names the key and how many digits stay."""
    (warning,) = warnings(of)
    assert warning.startswith("attributes.x.of ")
    assert word in warning


def test_what_rounds_nothing_is_not_warned_of() -> None:
    """Whole numbers and decimals are exact."""
    assert warnings("cents") == ()
    assert warnings("CAST(cents AS DECIMAL(18, 2))") == ()


def test_halves_are_rounded_to_even() -> None:
    """So says the documentation."""
    exprs = [pl.sql_expr("CAST(price AS DECIMAL(18, 2))").alias("x")]
    frame = pl.DataFrame({"price": [0.125, 0.375, -0.125, 2.675]})
    found = evaluate(frame, exprs)["x"].to_list()
    assert found == [Decimal(one) for one in ("0.12", "0.38", "-0.12", "2.68")]
