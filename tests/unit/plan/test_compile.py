"""From configuration and a sample to a plan, or to errors that name their keys."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from consumer.config import Settings
from consumer.config.attributes import AttributeFormat
from consumer.config.groups import PurchasesSettings
from consumer.errors import ConfigurationError
from consumer.plan.compile import Plan, compile_plan
from consumer.plan.values import ValueType

ITEM = pl.Struct({"sku": pl.String, "quantity": pl.Int64, "store": pl.String})
SAMPLE = pl.DataFrame(
    {
        "event_id": ["a", "b"],
        "visitor_id": ["x", None],
        "occurred_at": pl.Series([0, 1]).cast(pl.Datetime("ms")),
        "store": ["S", "T"],
        "total": [5, 6],
        "ratio": [0.5, 1.5],
        "price": pl.Series(["1.25", "2.50"]).str.to_decimal(scale=2),
        "wide": pl.Series([1, 2]).cast(pl.Decimal(38, 20)),
        "flag": [True, None],
        "day": pl.Series([0, 1]).cast(pl.Date),
        "time": pl.Series([0, 1]).cast(pl.Time),
        "raw": [b"a", b"b"],
        "big": pl.Series([1, 2], dtype=pl.UInt64),
        "items": pl.Series(
            [[{"sku": "k", "quantity": 1, "store": "own"}], []], dtype=pl.List(ITEM)
        ),
    }
)


def plan_of(
    fields: dict[str, str] | None = None,
    sample: pl.DataFrame = SAMPLE,
    **of: dict[str, Any],
) -> Plan:
    """Compile attributes."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p", "fields": fields or {}},
            "target": {"client": "c"},
            "attributes": of or {"n": {"aggregate": "count"}},
        }
    )
    return compile_plan(settings, sample)


def kept(of: str, aggregate: str = "last") -> ValueType:
    """Give how a value is kept."""
    return plan_of(x={"aggregate": aggregate, "of": of}).attributes[0].kept


def refused(
    key: str, fields: dict[str, str] | None = None, **of: dict[str, Any]
) -> str:
    """Give what an error about `key` says is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        plan_of(fields, SAMPLE, **of)
    (problem,) = caught.value.problems
    assert problem.key == key
    return problem.allowed


KEPT = {
    "total": ValueType("long", "integer"),
    "ratio": ValueType("double", "float"),
    "price": ValueType("long", "decimal", 2),
    "CAST(total AS DECIMAL(10, 3))": ValueType("long", "decimal", 3),
    "store": ValueType("string", "text"),
    "flag": ValueType("long", "boolean"),
    "day": ValueType("long", "date"),
    "occurred_at": ValueType("long", "datetime"),
}


@pytest.mark.parametrize("of", KEPT)
def test_each_type_is_kept_in_its_way(of: str) -> None:
    """Numbers, text, times and booleans have a storage and a meaning."""
    assert kept(of) == KEPT[of]


@pytest.mark.parametrize("of", ["time", "raw", "big", "items", "wide"])
def test_types_that_a_profile_cannot_keep_are_refused(of: str) -> None:
    """Bytes, times of day, lists and too wide numbers are named."""
    allowed = refused("attributes.x.of", x={"aggregate": "last", "of": of})
    assert "a number, text, date, time or boolean, not" in allowed


@pytest.mark.parametrize("of", ["ratio", "total / 3", "store", "flag", "day"])
@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_only_whole_numbers_and_decimals_are_added_up(aggregate: str, of: str) -> None:
    """Floats are refused in sums, since their order would matter; it says so."""
    allowed = refused("attributes.x.of", x={"aggregate": aggregate, "of": of})
    assert "cast to DECIMAL(18, 2)" in allowed
    assert ("floats" in allowed) == (of in {"ratio", "total / 3"})


@pytest.mark.parametrize("aggregate", ["top", "distinct"])
def test_floats_are_no_keys(aggregate: str) -> None:
    """Floats are refused as keys."""
    allowed = refused("attributes.x.of", x={"aggregate": aggregate, "of": "ratio"})
    assert "no dependable key" in allowed


def test_a_weight_is_a_whole_number() -> None:
    """Floats and decimals are refused as weights."""
    for by in ("ratio", "price"):
        of = {"aggregate": "top", "of": "store", "by": by}
        assert "a whole number" in refused("attributes.x.by", x=of)


def test_a_condition_is_a_boolean() -> None:
    """A `where` that is a number is refused."""
    of = {"aggregate": "count", "where": "total"}
    assert "a condition, not Int64" in refused("attributes.x.where", x=of)


FIELDS = {
    "event_id": ("ratio", "text or an integer"),
    "visitor_id": ("day", "text or an integer"),
    "event_time": ("ratio", "a timestamp, a date, an ISO 8601 text"),
    "items": ("store", "a list of records"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_a_wrong_type_are_refused(field: str) -> None:
    """Ids are no floats, times no numbers, items a list of records."""
    sql, allowed = FIELDS[field]
    of = {"aggregate": "count", "from": "items"}
    assert allowed in refused(f"purchases.fields.{field}", fields={field: sql}, x=of)


def test_an_integer_is_an_id_and_a_date_a_time() -> None:
    """Whole numbers are ids as text, dates are times at midnight."""
    plan = plan_of({"event_id": "total", "visitor_id": "total", "event_time": "day"})
    frame = SAMPLE.select(plan.event_id.alias("e"), plan.event_time.alias("t"))
    assert frame["e"].to_list() == ["5", "6"]
    assert frame["t"].to_list() == [0, 86_400_000_000]


def test_every_problem_is_told_at_once() -> None:
    """One error lists all problems, one line each, in order."""
    with pytest.raises(ConfigurationError) as caught:
        plan_of(
            {"visitor_id": "nobody"},
            x={"aggregate": "sum", "of": "ratio"},
            y={"aggregate": "last", "of": "SUM(total)"},
        )
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["purchases.fields.visitor_id", "attributes.x.of", "attributes.y.of"]
    assert len(str(caught.value).splitlines()) == 3


def test_items_are_only_needed_where_they_are_read() -> None:
    """Events without items serve attributes of events."""
    plan = plan_of(sample=SAMPLE.drop("items"))
    assert plan.items is None
    assert set(plan.columns) == {"event_id", "visitor_id", "occurred_at"}


def test_an_items_column_shadows_the_events() -> None:
    """Plain names are the item's first, `event.x` is the event's, others inherited."""
    plan = plan_of(
        x={"aggregate": "last", "of": "store", "from": "items"},
        y={"aggregate": "last", "of": "event.flag", "from": "items"},
        z={"aggregate": "last", "of": "total", "from": "items", "where": "sku <> ''"},
    )
    assert plan.item_columns == {"store", "sku"}
    assert plan.inherited == {"total"}
    assert plan.outer == {"flag"}
    identity = {"event_id", "visitor_id", "occurred_at"}
    assert set(plan.columns) == identity | {"items", "total", "flag"}


def test_an_unknown_outer_field_is_refused() -> None:
    """`event.x` must be there."""
    of = {"aggregate": "last", "of": "event.nothing", "from": "items"}
    assert "nothing" in refused("attributes.x.of", x=of)


FORMATS = {
    ("sum", "total"): AttributeFormat("integer"),
    ("sum", "price"): AttributeFormat("decimal", scale=2),
    ("mean", "price"): AttributeFormat("decimal", scale=6),
    ("mean", "CAST(total AS DECIMAL(18, 17))"): AttributeFormat("decimal", scale=18),
    ("last", "store"): AttributeFormat("text"),
    ("last", "ratio"): AttributeFormat("text"),
    ("last", "day"): AttributeFormat("date"),
    ("last", "occurred_at"): AttributeFormat("datetime"),
    ("last", "flag"): AttributeFormat("boolean"),
    ("distinct", "day"): AttributeFormat("integer"),
    ("top", "price"): AttributeFormat("decimal", scale=2),
    ("recent", "price"): AttributeFormat("list", separator=","),
}


@pytest.mark.parametrize(("aggregate", "of"), FORMATS)
def test_a_format_follows_from_the_type(aggregate: str, of: str) -> None:
    """Without a format the value's type decides; several values are a list."""
    plan = plan_of(x={"aggregate": aggregate, "of": of})
    assert plan.attributes[0].format == FORMATS[aggregate, of]


def test_render_is_checked_over_value() -> None:
    """`render` sees the shown value and nothing else."""
    plan_of(x={"aggregate": "last", "of": "store", "render": "UPPER(value)"})
    plan_of(x={"aggregate": "last", "of": "day", "render": "STRFTIME(value, '%Y')"})
    for render in ("total + value", "SUM(value)", "NOW()"):
        of = {"aggregate": "count", "render": render}
        refused("attributes.x.render", x=of)


def test_the_definition_names_what_is_folded_only() -> None:
    """How a value is shown is no part of what a stored state means."""
    base = {"aggregate": "top", "of": "store", "by": "total"}
    shown = {**base, "n": 3, "format": "list(;)", "render": "value", "sentinel": "-"}
    first, second = plan_of(x=base, y=shown).attributes
    assert first.definition == second.definition
    assert json.loads(first.definition)["by"] == "total"
    (other,) = plan_of(x={**base, "where": "flag"}).attributes
    assert other.definition != first.definition
    three, four = plan_of(
        x={"aggregate": "recent", "of": "store", "n": 3},
        y={"aggregate": "recent", "of": "store", "n": 4},
    ).attributes
    assert three.definition != four.definition


def test_the_plan_can_be_read() -> None:
    """`check --plan` prints what a batch goes through, a line each."""
    of = "CAST(total AS DECIMAL(9, 2))"
    plan = plan_of(x={"aggregate": "sum", "of": of, "where": "flag"})
    purchases = PurchasesSettings(topic="p", where="flag")
    read, event_id, visitor, time, keep, fold = plan.describe(purchases)
    assert read == "read      event_id, flag, occurred_at, total, visitor_id"
    assert (event_id, visitor) == (
        "event_id  event_id: text",
        "visitor   visitor_id: text",
    )
    assert (time, keep) == ("time      occurred_at: datetime", "keep      flag")
    assert fold == f"fold      x = sum({of}) where flag: decimal(2)"


def test_the_definition_changes_with_the_type_that_a_schema_gives() -> None:
    """A decimal of another scale is another definition: sums mean other money."""
    finer = SAMPLE.with_columns(pl.col("price").cast(pl.Decimal(18, 4)))
    total = {"aggregate": "sum", "of": "price"}
    (before,) = plan_of(x=total).attributes
    (after,) = plan_of(sample=finer, x=total).attributes
    assert before.definition != after.definition


@pytest.mark.parametrize("aggregate", ["top", "recent"])
def test_several_values_need_a_list_format(aggregate: str) -> None:
    """One value out of several would be sent in silence."""
    with pytest.raises(ConfigurationError, match="list"):
        plan_of(x={"aggregate": aggregate, "of": "store", "n": 3, "format": "text"})
