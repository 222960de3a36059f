"""A state is told in words that a person can check a value with."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.profiles.readable import in_words, shown
from tests.property.world import World

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "visitor_id", "type": "string"},
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {"name": "store", "type": ["null", "string"]},
        {"name": "cents", "type": "long"},
        {"name": "gift", "type": "boolean"},
    ],
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "orders": {"aggregate": "count"},
    "revenue": {"aggregate": "sum", "of": "CAST(cents AS DECIMAL(12, 2)) / 100.0"},
    "average": {"aggregate": "mean", "of": "cents"},
    "largest": {"aggregate": "max", "of": "cents"},
    "ever_gift": {"aggregate": "max", "of": "gift"},
    "first_day": {"aggregate": "min", "of": "CAST(occurred_at AS DATE)"},
    "last_store": {"aggregate": "last", "of": "store"},
    "last_time": {"aggregate": "last", "of": "occurred_at"},
    "stores": {"aggregate": "distinct", "of": "store"},
    "favourites": {"aggregate": "top", "of": "store", "by": "cents"},
    "recent_stores": {"aggregate": "recent", "of": "store", "n": 3},
    "nothing": {"aggregate": "last", "of": "store", "where": "cents < 0"},
}
WINDOWS: dict[str, dict[str, Any]] = {
    "spend_2d": {"aggregate": "sum", "of": "cents", "window": "2d"},
    "stores_2d": {"aggregate": "distinct", "of": "store", "window": "2d"},
}
DAY = 86_400_000


def event(number: int, store: str | None, cents: int) -> dict[str, Any]:
    """Make an event of the day with that number."""
    return {
        "event_id": f"e{number}",
        "visitor_id": "ann",
        "occurred_at": number * DAY,
        "store": store,
        "cents": cents,
        "gift": number == 2,
    }


@pytest.fixture(scope="module", name="words")
def _words() -> dict[str, str]:
    """Give each attribute's words, of a profile that the service folded."""
    world = World(ATTRIBUTES | WINDOWS, {1: SCHEMA})
    events = [event(1, "A", 250), event(2, "B", 1_000), event(3, "A", 249)]
    world.feed([world.record(one) for one in events])
    (profile,) = world.profiles().values()
    return {one.name: in_words(one, profile[one.name]) for one in world.plan.attributes}


EXPECTED = {
    "orders": "3 counted",
    "average": "1499 from 3 values in all",
    "largest": "1000",
    "ever_gift": "true",
    "first_day": "1970-01-02",
    "last_store": "A, of event e3 at 1970-01-04 00:00:00Z",
    "last_time": "1970-01-04 00:00:00Z, of event e3 at 1970-01-04 00:00:00Z",
    "stores": "2 different: A, B",
    "favourites": "B 1000, A 499",
    "nothing": "nothing yet",
    "spend_2d": "1970-01-04: 249 from 1 values, 1970-01-03: 1000 from 1 values, "
    "1970-01-02: 250 from 1 values",
    "stores_2d": "A (last 1970-01-04), B (last 1970-01-03)",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_aggregate_has_its_words(words: dict[str, str], name: str) -> None:
    """The words hold the state itself, as what it stands for."""
    assert words[name] == EXPECTED[name]


def test_decimals_are_told_with_their_point(words: dict[str, str]) -> None:
    """A scaled long is what it stands for, not how it is stored."""
    number, rest = words["revenue"].split(" ", 1)
    assert float(number) == 14.99
    assert rest == "from 3 values"


def test_values_of_one_event_stand_together() -> None:
    """A receipt with many lines names its event once."""
    world = World({"recent": ATTRIBUTES["recent_stores"]}, {1: SCHEMA})
    plan = world.plan.attributes[0]
    first = {"time": 0, "event": "e1", "item": 1}
    entries = [
        {"value": "A", **first},
        {"value": "B", **first},
        {"value": "C", **first, "event": "e2"},
    ]
    told = "A, B (of event e1 at 1970-01-01 00:00:00Z), C (of event e2 at 1970-01-01"
    assert in_words(plan, entries).startswith(told)


def test_many_values_are_counted_beyond_the_first() -> None:
    """A thousand keys are no wall of text."""
    world = World({"stores": ATTRIBUTES["stores"]}, {1: SCHEMA})
    plan = world.plan.attributes[0]
    words = in_words(plan, [f"S{number}" for number in range(1_000)])
    assert words.startswith("1000 different: S0, S1")
    assert words.endswith("and 990 more")
    assert shown(plan.kept, None) == "null"
