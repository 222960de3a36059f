"""The recipes of docs/recipes.md come out as the page says."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consumer.events.codecs import Codec
from consumer.events.takebacks import takebacks
from consumer.frames import Outcome
from tests.property.world import Record, World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "purchase.avsc").read_text())
MONDAY = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
COUNT = {"orders": {"aggregate": "count"}}


def recipe(title: str) -> dict[str, Any]:
    """Read the configuration that stands below a heading."""
    _, _, below = PAGE.partition(f"## {title}\n")
    block = re.search(r"```toml\n(.*?)```", below.partition("\n## ")[0], re.DOTALL)
    assert block is not None
    return tomllib.loads(block[1])


def event(event_id: str, kind: str = "SALE", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - an Avro record
    """Make an event of Monday noon."""
    items = changes.pop("items", [("Coffee", 2, 800), ("Bakery", 1, 800)])
    return {
        "event_id": event_id,
        "event_type": kind,
        "visitor_id": "ann",
        "store_id": "S0001",
        "register_id": "R1",
        "receipt_id": "1",
        "refers_to": None if kind == "SALE" else "a",
        "occurred_at": MONDAY,
        "currency": "EUR",
        "total_minor": sum(abs(n) * price for _, n, price in items),
        "payment_method": "CARD",
        "items": [
            {"sku": c, "category": c, "quantity": n, "unit_price_minor": price}
            for c, n, price in items
        ],
        **changes,
    }


def millis(moment: datetime) -> int:
    """Count milliseconds since the epoch."""
    return int(moment.timestamp() * 1_000)


def feed(world: World, *events: dict[str, Any], at: datetime = MONDAY) -> list[str]:
    """Record events at a time, as one batch; say what each became."""
    batch = [world.record(one, timestamp=millis(at)) for one in events]
    prepared = world.feed(batch)
    reasons = {one.row: one.reason for one in prepared.verdicts.dead_letters}
    words = [Outcome(one).label for one in prepared.verdicts.outcomes.tolist()]
    return [reasons.get(row, word) for row, word in enumerate(words)]


@pytest.mark.parametrize("first", ["sale", "return"])
def test_part_of_a_receipt_comes_back(first: str) -> None:
    """Sums and tops subtract it, in whichever order the two arrive."""
    attributes = recipe("Part of a receipt comes back")["attributes"]
    world = World(attributes, {1: SCHEMA})
    sale = event("a")
    back = event("b", "RETURN", items=[("Coffee", -1, 800)])
    for one in (sale, back) if first == "sale" else (back, sale):
        feed(world, one)
    assert world.rows()["ann"] == {
        "net_revenue": "16.00",
        "favourite_categories": "Bakery;Coffee",
        "orders": "1",
    }
    feed(world, event("c", "RETURN", items=[("Coffee", -1, 800), ("Bakery", -1, 800)]))
    assert world.rows()["ann"]["net_revenue"] == "0.00"
    assert world.rows()["ann"]["favourite_categories"] == "none"


def test_a_void_after_the_upload_makes_the_next_version() -> None:
    """What retracts goes back; the maximum stays, and check says so beforehand."""
    attributes = recipe("A sale is called off after it was uploaded")["attributes"]
    world = World(attributes, {1: SCHEMA})
    feed(world, event("a", total_minor=500))
    before = world.rows()["ann"]
    feed(world, event("b", total_minor=9_900))
    uploaded = world.profiles()["ann"]["version"]
    assert world.rows()["ann"]["net_revenue"] == "104.00"
    feed(world, event("c", "VOID", total_minor=9_900))
    after = world.rows()["ann"]
    assert world.profiles()["ann"]["version"] == uploaded + 1
    assert (after["net_revenue"], after["orders"]) == ("5.00", "1")
    assert (before["largest_order"], after["largest_order"]) == ("500", "9900")


def test_check_warns_of_what_cannot_be_taken_back() -> None:
    """Where `where` lets a VOID in, it is named with the attribute and the column."""
    codec = Codec(json.dumps(SCHEMA))
    attributes: dict[str, dict[str, Any]] = {
        "latest": {"aggregate": "last", "of": "store_id"},
        "sales": {"aggregate": "last", "of": "store_id", "where": "event_type='SALE'"},
        "no_voids": {
            "aggregate": "max",
            "of": "total_minor",
            "where": "event_type <> 'VOID'",
        },
        "skus": {"aggregate": "distinct", "of": "sku", "from": "items"},
        "net": {"aggregate": "sum", "of": "total_minor"},
    }
    plan = World(attributes, {1: SCHEMA}).plan
    columns = codec.decode(codec.sample()).columns
    found = {
        (one.attribute, one.column): one for one in takebacks(plan, codec.type, columns)
    }
    assert {k: one.values for k, one in found.items()} == {
        ("latest", "event_type"): ("RETURN", "VOID"),
        ("no_voids", "event_type"): ("RETURN",),
        ("skus", "event_type"): ("RETURN", "VOID"),
    }
    assert "attributes.latest takes in events with event_type = RETURN, VOID" in str(
        found["latest", "event_type"]
    )


def test_a_receipt_that_is_three_days_late_counts_on_its_day() -> None:
    """It falls into the longer window, misses the shorter one, and is not the last."""
    attributes = recipe("A receipt is three days late")["attributes"]
    world = World(attributes, {1: SCHEMA})
    thursday = MONDAY + 3 * DAY
    world.today = (thursday.date() - date(1970, 1, 1)).days
    wednesday = event("w", occurred_at=MONDAY + 2 * DAY, store_id="S0002")
    feed(world, wednesday, at=MONDAY + 2 * DAY)
    assert feed(world, event("m"), at=thursday) == ["folded"]
    assert world.rows()["ann"] == {
        "spend_7d": "4800",
        "spend_2d": "2400",
        "last_store": "S0002",
    }
    assert feed(world, event("m"), at=thursday + DAY / 2) == ["duplicate"]


def test_of_one_id_with_two_contents_the_first_wins() -> None:
    """The second is a duplicate; an id that holds the day keeps both."""
    attributes = {"total": {"aggregate": "sum", "of": "total_minor"}}
    world = World(attributes, {1: SCHEMA})
    one, other = event("a", total_minor=1), event("a", total_minor=2)
    assert feed(world, one, one) == ["folded", "duplicate"]
    conflict = Record(b"ann", world.encode(other), timestamp=millis(MONDAY))
    assert world.feed([conflict]).verdicts.conflicts == [0]
    assert world.rows()["ann"]["total"] == "1"
    fields = recipe("The same event id with other contents")["purchases"]["fields"]
    world = World(attributes, {1: SCHEMA}, fields=fields)
    tomorrow = {**other, "occurred_at": MONDAY + DAY}
    assert feed(world, one, tomorrow, one) == ["folded", "folded", "duplicate"]


def test_events_from_the_future_are_bounded() -> None:
    """Beyond `max_ahead` a dead letter, below it an event; and no clock is moved."""
    world = World(COUNT, {1: SCHEMA}, max_ahead=86_400.0)
    tomorrow = event("a", occurred_at=MONDAY + DAY)
    beyond = event("b", occurred_at=MONDAY + DAY + timedelta(milliseconds=1))
    assert feed(world, tomorrow, beyond) == ["folded", "from_the_future"]
    assert feed(world, beyond, at=MONDAY + DAY) == ["folded"]  # it left no trace
    unstamped = Record(b"ann", world.encode(event("c")), timestamp=-1)
    assert Outcome.DEAD_LETTERED not in world.feed([unstamped]).verdicts.outcomes


def test_a_record_from_the_future_does_not_make_repeats_count() -> None:
    """What came before it is still known after it, and ids are forgotten as ever."""
    world = World(COUNT, {1: SCHEMA})
    feed(world, event("a"), event("b"))
    feed(world, event("c"), at=MONDAY + 70 * 365 * DAY)
    assert feed(world, event("a"), event("c")) == ["duplicate", "duplicate"]
    for hours in range(1, 30):
        feed(world, event(f"h{hours}"), at=MONDAY + timedelta(hours=hours))
    assert feed(world, event("a"), at=MONDAY + timedelta(hours=30)) == ["folded"]
    assert feed(world, event("c"), at=MONDAY + timedelta(hours=30)) == ["duplicate"]


def test_an_event_time_of_0_counts_or_is_told() -> None:
    """It is 1970 in silence, unless the mapping says that it is no time."""
    zero = event("a", occurred_at=datetime(1970, 1, 1, tzinfo=UTC))
    first = {"first": {"aggregate": "first", "of": "occurred_at", "format": "date"}}
    world = World(first, {1: SCHEMA})
    assert feed(world, zero, event("b")) == ["folded", "folded"]
    assert world.rows()["ann"]["first"] == "1970-01-01"
    fields = recipe("An event time of 0")["purchases"]["fields"]
    world = World(first, {1: SCHEMA}, fields=fields)
    assert feed(world, zero, event("b")) == ["missing_event_time", "folded"]
    assert world.rows()["ann"]["first"] == "2026-03-02"
