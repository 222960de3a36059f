"""The time of an event, whatever holds it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.exceptions import PolarsError

from consumer.errors import ConfigurationError
from consumer.plan.expressions import evaluate
from consumer.plan.times import time_field

NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 1_000_000
ISO = {
    "2026-01-31T12:00:00Z": NOON,
    "2026-01-31T12:00:00": NOON,
    "2026-01-31 12:00": NOON,
    "2026-01-31T13:00:00+01:00": NOON,
    "2026-01-31T13:00:00.000+0100": NOON,
    "2026-01-31T11:30:00 -00:30": NOON,
    "2026-01-31T13+01": None,
    "2026-01-31T12:00:00.5Z": NOON + 500_000,
    "2026-01-31T12:00:00,123456789Z": NOON + 123_456,
    "2026-01-31": NOON - 12 * 3_600_000_000,
    "0001-01-01": -62_135_596_800_000_000,
}


@pytest.mark.parametrize("text", ISO)
def test_iso_texts_are_read_row_by_row(text: str) -> None:
    """A text alone, and beside others of another form, is the same time."""
    expr = time_field("t", None, pl.DataFrame({"t": ["2026-01-31", None]})).expr
    if ISO[text] is None:
        with pytest.raises(PolarsError):
            evaluate(pl.DataFrame({"t": [text]}), [expr.alias("x")])
        return
    frame = pl.DataFrame({"t": ["2026-02-01T00:00Z", None, text]})
    assert evaluate(frame, [expr.alias("x")])["x"].to_list()[1:] == [None, ISO[text]]
    assert evaluate(frame[2:], [expr.alias("x")])["x"].to_list() == [ISO[text]]


@pytest.mark.parametrize(
    "text", ["yesterday", "", "2026-02-30", "31.01.2026", "1700000000"]
)
def test_what_is_no_time_fails(text: str) -> None:
    """It is no null: the event becomes a dead letter that says why."""
    expr = time_field("t", None, pl.DataFrame({"t": ["2026-01-31", None]})).expr
    with pytest.raises(PolarsError):
        evaluate(pl.DataFrame({"t": [text]}), [expr.alias("x")])


@pytest.mark.parametrize(
    ("values", "unit", "found"),
    [
        ([1_700_000_000], "s", 1_700_000_000_000_000),
        ([1_700_000_000_123], "ms", 1_700_000_000_123_000),
        ([1_700_000_000_123_456], "us", 1_700_000_000_123_456),
        ([0], "ms", 0),
        ([None, -1], "ms", None),
        ([2**62], "s", 2**63 - 1),
        ([date(1970, 1, 2)], None, 86_400_000_000),
        ([datetime(1970, 1, 1, 0, 0, 1)], None, 1_000_000),  # noqa: DTZ001 - as polars has it
    ],
)
def test_numbers_and_times_become_microseconds(
    values: list[object], unit: str | None, found: int | None
) -> None:
    """What does not fit is far out of range, never another time."""
    frame = pl.DataFrame({"t": values})
    expr = time_field("t", unit, frame).expr
    assert evaluate(frame, [expr.alias("x")])["x"].to_list()[0] == found


@pytest.mark.parametrize(
    ("values", "unit", "words"),
    [
        ([5], None, "event_time_unit"),
        ([1.5], None, "ISO 8601"),
        (["2026-01-31"], "ms", "no `event_time_unit`"),
        ([True], None, "a timestamp"),
    ],
)
def test_what_holds_no_time_is_refused_at_check(
    values: list[object], unit: str | None, words: str
) -> None:
    """A number without its unit could be three different times."""
    with pytest.raises(ConfigurationError, match=words):
        time_field("t", unit, pl.DataFrame({"t": values}))
