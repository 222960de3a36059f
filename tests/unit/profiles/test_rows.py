"""Profiles to the text that Target gets."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from consumer.config import Settings
from consumer.errors import ConfigurationError, PartitionHalt
from consumer.plan.compile import compile_plan
from consumer.profiles.heaviest_kernel import heaviest
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer, check_rendering, render_attribute
from consumer.profiles.warm import warm_rendering

FRAME = pl.DataFrame(
    {
        "event_id": ["a", "b"],
        "visitor_id": ["x", "y"],
        "occurred_at": pl.Series([0, 1]).cast(pl.Datetime("us")),
        "long": [1, 2],
        "price": pl.Series(["1.25", "2.50"]).str.to_decimal(scale=2),
        "double": [0.5, 1.5],
        "text": ["a", "b"],
        "flag": [True, False],
        "day": pl.Series([0, 1]).cast(pl.Date),
    }
)


def shown(states: list[Any], **attribute: Any) -> list[str | None]:  # noqa: ANN401 - states
    """Render states of one attribute."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"x": attribute},
        }
    )
    compiled = compile_plan(settings, FRAME)
    (plan,) = compiled.attributes
    codec = ProfileCodec(ProfileSchema.of(compiled))
    array = pa.array(states, codec.schema.field("x").type)
    as_of = np.zeros(len(states), np.int64)
    found: list[str | None] = render_attribute(plan, array, as_of).to_pylist()
    return found


def total(number: int, weight: int = 1) -> dict[str, int]:
    """Make the state of a sum."""
    return {"total": number, "weight": weight}


SUMS: dict[str, tuple[dict[str, Any], list[Any], list[str | None]]] = {
    "whole numbers": (
        {"of": "long"},
        [total(0), total(-5), total(2**63 - 1), total(0, 0)],
        ["0", "-5", "9223372036854775807", None],
    ),
    "decimals keep their cents": (
        {"of": "price"},
        [total(12345), total(-1), total(0), total(10**17)],
        ["123.45", "-0.01", "0.00", "1000000000000000.00"],
    ),
    "render over value": (
        {"of": "long", "render": "value / 100.0", "format": "decimal(2)"},
        [total(12345), total(-1), total(5)],
        ["123.45", "-0.01", "0.05"],
    ),
    "halves go away from zero": (
        {"of": "price", "format": "decimal(1)"},
        [total(25), total(-25), total(15), total(4)],
        ["0.3", "-0.3", "0.2", "0.0"],
    ),
    "to whole numbers": (
        {"of": "price", "format": "decimal(0)"},
        [total(150), total(-150), total(49)],
        ["2", "-2", "0"],
    ),
    "a sentinel where there is nothing": (
        {"of": "long", "sentinel": "none"},
        [total(0, 0), total(0)],
        ["none", "0"],
    ),
    "text made of a number": (
        {
            "of": "long",
            "render": "CASE WHEN value > 9 THEN 'gold' ELSE 'tin' END",
            "format": "text",
        },
        [total(10), total(1), total(0, 0)],
        ["gold", "tin", "tin"],
    ),
}


@pytest.mark.parametrize("kind", SUMS)
def test_sums_are_written_exactly(kind: str) -> None:
    """Totals are written to the last digit, nothing as nothing."""
    attribute, states, expected = SUMS[kind]
    assert shown(states, aggregate="sum", **attribute) == expected
    alone = [shown([state], aggregate="sum", **attribute)[0] for state in states]
    assert alone == expected


MEANS = [(1, 3, "0.3333"), (2, 3, "0.6667"), (-2, 3, "-0.6667"), (5, 1, "5.0000")]


@pytest.mark.parametrize(("number", "weight", "expected"), MEANS)
def test_a_mean_has_four_more_digits(number: int, weight: int, expected: str) -> None:
    """A mean of whole numbers is no whole number."""
    found = shown([total(number, weight)], aggregate="mean", of="long")
    assert found == [expected]


def test_a_mean_of_nothing_is_nothing() -> None:
    """Without values there is no mean, and no division by zero."""
    assert shown([total(0, 0)], aggregate="mean", of="price") == [None]


LASTS: dict[str, tuple[list[Any], list[str]]] = {
    "double": (
        [0.5, 100.0, 1e18, -0.25, 1e-13, 0.1, 12345.678, -1e7, 999999999999.25],
        [
            *("0.5", "100", "1000000000000000000", "-0.25", "0"),
            *("0.1", "12345.678", "-10000000", "999999999999.25"),
        ],
    ),
    "flag": ([1, 0], ["true", "false"]),
    "day": (
        [-719_162, -1, 2_932_896],
        ["0001-01-01", "1969-12-31", "9999-12-31"],
    ),
    "occurred_at": (
        [-1, 0, 253_402_300_799_999_999],
        ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
    ),
    "text": (["", "ä"], ["", "ä"]),
}


@pytest.mark.parametrize("of", LASTS)
def test_single_values_are_written_by_their_type(of: str) -> None:
    """No exponents, ISO dates and times in UTC, true and false."""
    values, expected = LASTS[of]
    places = {"time": 0, "event": "e", "item": 0}
    states = [{"value": value, **places} for value in [*values, None]]
    assert shown(states, aggregate="last", of=of) == [*expected, None]


def test_a_float_that_cannot_be_written_sends_nothing() -> None:
    """A rendered value beyond all digits is left out and stops no other."""
    for form in ("text", "decimal(2)"):
        of = {"aggregate": "min", "of": "double", "render": "value * 1e300"}
        assert shown([1e10, 0.0], **of, format=form)[0] is None


def test_lists_are_joined_in_order() -> None:
    """The heaviest first, ties by key; only positive weights; nothing for nothing."""
    entries = [("a", 1), ("b", 3), ("c", 3), ("d", -9)]
    state = [{"key": key, "weight": weight} for key, weight in entries]
    top = {"aggregate": "top", "of": "text", "n": 3}
    assert shown([state, [], state[3:]], **top) == ["b,c,a", None, None]
    assert shown([state], **top, format="list( | )") == ["b | c | a"]
    assert shown([state, []], **top, sentinel="-") == ["b,c,a", "-"]
    assert shown([state, []], aggregate="top", of="text") == ["b", None]


def test_one_compilation_serves_every_list() -> None:
    """What `warm_rendering` has compiled is what rendering calls."""
    warm_rendering()
    state = [{"key": "a", "weight": 1}]
    shown([state, []], aggregate="top", of="text", n=3)
    shown([], aggregate="top", of="text")
    assert len(cast("Any", heaviest).signatures) == 1


@pytest.mark.parametrize(
    ("attribute", "had", "has"),
    [
        ({"aggregate": "mean", "of": "long"}, total(6, 3), total(0, 0)),
        (
            {"aggregate": "sum", "of": "long", "format": "integer"},
            total(6),
            total(0, 0),
        ),
        (
            {"aggregate": "top", "of": "text"},
            [{"key": "a", "weight": 1}],
            [{"key": "a", "weight": 0}],
        ),
        (
            {"aggregate": "last", "of": "text", "render": "NULLIF(value, 'none')"},
            {"value": "some", "time": 0, "event": "e", "item": 0},
            {"value": "none", "time": 1, "event": "f", "item": 0},
        ),
    ],
)
def test_a_value_that_disappears_sends_its_sentinel(
    attribute: dict[str, Any], had: object, has: object
) -> None:
    """Target would keep the former value: an empty cell clears nothing."""
    before, after = shown([had, has], **attribute, sentinel="gone")
    assert before not in {None, "gone"}
    assert after == "gone"
    assert shown([has], **attribute) == [None]


def test_rows_have_a_column_for_each_attribute_in_order() -> None:
    """A row is the visitor, its version and generation, then all attributes."""
    attributes = {"b": {"aggregate": "count"}, "a": {"aggregate": "min", "of": "long"}}
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": attributes,
        }
    )
    plan = compile_plan(settings, FRAME)
    codec = ProfileCodec(ProfileSchema.of(plan))
    renderer = RowRenderer(plan.attributes, codec)
    none = renderer.rows([])
    assert (none.num_rows, none.schema.names[3:]) == (0, ["b", "a"])
    assert renderer.attributes == ("b", "a")
    assert [str(kind) for kind in none.schema.types] == [
        "string",
        "int64",
        "int32",
        "string",
        "string",
    ]


@pytest.mark.parametrize(
    ("attribute", "part"),
    [
        ({"aggregate": "last", "of": "text", "format": "date"}, "format"),
        (
            {"aggregate": "last", "of": "text", "render": "CAST(value AS BIGINT)"},
            "render",
        ),
    ],
)
def test_rendering_that_can_fail_is_refused_at_the_start(
    attribute: dict[str, Any], part: str
) -> None:
    """One visitor's value must not keep everybody's rows from Target."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"x": attribute},
        }
    )
    (plan,) = compile_plan(settings, FRAME).attributes
    with pytest.raises(ConfigurationError, match=rf"attributes\.x\.{part}"):
        check_rendering(plan)


def test_a_row_says_nothing_about_an_attribute_that_began_after_it() -> None:
    """No value and no sentinel either: Target keeps what it has until there is one."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"x": {"aggregate": "top", "of": "text", "sentinel": "none"}},
        }
    )
    compiled = compile_plan(settings, FRAME)
    codec = ProfileCodec(ProfileSchema.of(compiled))
    codec.begin(2, {"x": 2})
    profile = {"visitor": "ann", "version": 1, "source_partition": 0}
    profile |= {"source_offset": 0, "as_of_day": 0, "x": []}
    rows = pa.RecordBatch.from_pylist(
        [{**profile, "generation": 1}, {**profile, "generation": 2}],
        schema=codec.schema,
    )
    renderer = RowRenderer(compiled.attributes, codec)
    shown = renderer.rows(codec.encode(rows)).column("x").to_pylist()
    assert shown == [None, "none"]


def test_a_row_of_a_later_generation_is_not_rendered() -> None:
    """It may have attributes that we would leave out for good."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": {"x": {"aggregate": "count"}},
        }
    )
    compiled = compile_plan(settings, FRAME)
    codec = ProfileCodec(ProfileSchema.of(compiled))
    codec.begin(2, {"x": 1})
    profile = {"visitor": "ann", "version": 1, "source_partition": 0}
    profile |= {"source_offset": 0, "as_of_day": 0, "x": total(1), "generation": 3}
    rows = pa.RecordBatch.from_pylist([profile], schema=codec.schema)
    renderer = RowRenderer(compiled.attributes, codec)
    with pytest.raises(PartitionHalt, match="generation 3") as caught:
        renderer.rows(codec.encode(rows))
    assert caught.value.reason == "newer_generation"
