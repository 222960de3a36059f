"""Columns to events, with items, and the order of several schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from consumer.config import Settings
from consumer.events.mapping import Mapper
from consumer.plan.compile import compile_plan

if TYPE_CHECKING:
    from consumer.events.mapping import Mapped

ITEM = pl.Struct({"sku": pl.String, "quantity": pl.Int64, "note": pl.String})
COLUMNS: dict[str, Any] = {
    "event_id": pl.String,
    "visitor_id": pl.String,
    "occurred_at": pl.Datetime("ms"),
    "note": pl.String,
    "total": pl.Int64,
    "items": pl.List(ITEM),
}


def row(number: int, items: list[dict[str, Any] | None] | None = None) -> Any:  # noqa: ANN401 - a row
    """Make a decoded record."""
    return {
        "event_id": f"e{number}",
        "visitor_id": "ann",
        "occurred_at": 0,
        "note": f"outer {number}",
        "total": number,
        "items": items,
    }


def purchases(settings: dict[str, Any], rows: list[Any]) -> Mapped:
    """Map decoded records with settings of `[purchases]`."""
    return mapped(rows, settings, x={"aggregate": "count"})


def mapped(
    rows: list[Any], more: dict[str, Any] | None = None, **attributes: dict[str, Any]
) -> Mapped:
    """Map decoded records; their rows are ten, twenty and so on."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "p", **(more or {})},
            "target": {"client": "c"},
            "attributes": attributes,
        }
    )
    sample = pl.DataFrame([row(1, [{}]), row(2, [])], schema=COLUMNS)
    plan = compile_plan(settings, sample)
    frame = pl.DataFrame(rows, schema=COLUMNS)
    places = np.arange(len(rows)) * 10 + 10
    return Mapper(plan).map(places, frame)


def item(sku: str, note: str | None = None, quantity: int | None = 1) -> dict[str, Any]:
    """Make a line item."""
    return {"sku": sku, "quantity": quantity, "note": note}


LISTS: list[Any] = [
    row(1, [item("a"), item("b")]),
    row(2, []),
    row(3, None),
    row(4, [item("c", "own"), None]),
]


def test_items_know_their_event_and_their_place() -> None:
    """Empty and absent lists have no items; an absent item has no fields."""
    found = mapped(LISTS, x={"aggregate": "last", "of": "sku", "from": "items"})
    items = found.events.items
    assert items is not None
    assert items.events.tolist() == [0, 0, 3, 3]
    assert items.index.tolist() == [0, 1, 0, 1]
    assert items.operands["x"].to_list() == ["a", "b", "c", None]
    assert found.events.records.tolist() == [10, 20, 30, 40]


OF_ITEMS = {
    "note": [None, None, "own", None],
    "event.note": ["outer 1", "outer 1", "outer 4", "outer 4"],
    "COALESCE(note, event.note)": ["outer 1", "outer 1", "own", "outer 4"],
    "total": [1, 1, 4, 4],
    "event.total": [1, 1, 4, 4],
    "quantity * event.total": [1, 1, 4, None],
}


@pytest.mark.parametrize("of", OF_ITEMS)
def test_items_see_their_own_columns_first(of: str) -> None:
    """An item's column shadows the event's, `event.x` reaches it, others are seen."""
    found = mapped(LISTS, x={"aggregate": "last", "of": of, "from": "items"})
    assert found.events.items is not None
    assert found.events.items.operands["x"].to_list() == OF_ITEMS[of]


def test_constants_have_a_value_for_each_row() -> None:
    """Counts of all events and of all items are as long as these."""
    found = mapped(
        LISTS, x={"aggregate": "count"}, y={"aggregate": "count", "from": "items"}
    )
    assert found.events.operands["x"].to_list() == [1] * 4
    assert found.events.items is not None
    assert found.events.items.operands["y"].to_list() == [1] * 4


CONDITIONS = {
    "total > 2": [None, None, 3, 4],
    "note = 'outer 1'": [1, None, None, None],
    "NULLIF(total, 2) > 0": [1, None, 3, 4],
    "TRUE": [1, 2, 3, 4],
}


@pytest.mark.parametrize("where", CONDITIONS)
def test_what_is_unknown_takes_no_part(where: str) -> None:
    """Rows whose condition is false or null have no operand."""
    found = mapped(LISTS, x={"aggregate": "sum", "of": "total", "where": where})
    assert found.events.operands["x"].to_list() == CONDITIONS[where]


def test_a_failing_expression_costs_its_own_row_and_keeps_the_order() -> None:
    """Around rows that fail, events and items keep their order and their owners."""
    rows = [row(n, [item(str(n)), item("x" if n in {2, 5} else "0")]) for n in range(7)]
    found = mapped(
        rows,
        x={"aggregate": "sum", "of": "CAST(sku AS BIGINT)", "from": "items"},
        y={"aggregate": "sum", "of": "total"},
    )
    assert [one.row for one in found.dead_letters] == [30, 60]
    assert {one.reason for one in found.dead_letters} == {"expression_failed"}
    assert found.events.operands["y"].to_list() == [0, 1, 3, 4, 6]
    items = found.events.items
    assert items is not None
    assert items.events.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert items.operands["x"].to_list() == [0, 0, 1, 0, 3, 0, 4, 0, 6, 0]


def test_a_weight_beyond_the_limit_counts_only_where_it_takes_part() -> None:
    """A huge weight refuses its event, unless the condition leaves it out."""
    rows = [row(10**14), row(1), row(10**14)]
    rows[2]["note"] = "out"
    top = {"aggregate": "top", "of": "note", "by": "total", "where": "note <> 'out'"}
    found = mapped(rows, x=top)
    assert [one.row for one in found.dead_letters] == [10]
    assert {one.reason for one in found.dead_letters} == {"out_of_range"}


def test_events_that_do_not_count_are_filtered() -> None:
    """`where` that is false or null filters, before an event is asked for more."""
    found = purchases(
        {"where": "total > 1"},
        [row(1, []), row(2, []), {**row(3, []), "total": None, "event_id": None}],
    )
    assert found.events.records.tolist() == [20]
    assert found.filtered == [10, 30]
    assert not found.dead_letters


@pytest.mark.parametrize("visitor", [None, ""])
def test_walk_ins_are_filtered_where_the_configuration_says_so(
    visitor: str | None,
) -> None:
    """Without a visitor an event is a dead letter, or filtered and counted."""
    rows = [row(1, []), {**row(2, []), "visitor_id": visitor}]
    (letter,) = purchases({}, rows).dead_letters
    assert (letter.row, letter.reason) == (20, "missing_visitor")
    found = purchases({"without_visitor": "filter"}, rows)
    assert (found.filtered, found.dead_letters) == ([20], [])
    assert found.events.records.tolist() == [10]


def test_a_condition_that_fails_costs_one_event() -> None:
    """The others are filtered or kept as if it had not been there."""
    rows = [row(1, []), {**row(2, []), "note": "x"}, row(3, [])]
    rows[0]["note"], rows[2]["note"] = "5", "0"
    found = purchases({"where": "CAST(note AS INTEGER) > 1"}, rows)
    assert found.events.records.tolist() == [10]
    assert found.filtered == [30]
    assert [(one.row, one.reason) for one in found.dead_letters] == [
        (20, "expression_failed")
    ]
