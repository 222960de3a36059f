"""`explain` tells from topics alone why a visitor has its values, and who has them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.config import load_settings
from consumer.kafka.uploads_ledger import Entry, UploadsLedger
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from tests.integration.shop import PATIENCE, ask, item, purchase, wait_for

if TYPE_CHECKING:
    from tests.integration.shop import Shop

# Each starts the service, whose first batch compiles.
pytestmark = pytest.mark.timeout(180)
DOCS = Path(__file__).parents[2] / "docs" / "explain.md"
RETURN: dict[str, Any] = {
    "event_type": "RETURN",
    "total_minor": 500,
    "items": [item("Coffee", -1)],
}
MANY = [item(f"Category {number}", 1) for number in range(5)]


def explained(
    capsys: pytest.CaptureFixture[str], shop: Shop, visitor: str, *more: str
) -> dict[str, Any]:
    """Ask for a visitor as JSON."""
    code, out, err = ask(capsys, shop.config, "explain", visitor, "--json", *more)
    assert code in {0, 1}, err
    found: dict[str, Any] = json.loads(out)
    assert found["known"] is (code == 0)
    return found


def sent(found: dict[str, Any]) -> dict[str, str | None]:
    """Give what Target gets, by attribute."""
    return {one["name"]: one["sent"] for one in found["profile"]["attributes"]}


def tables(text: str) -> list[str]:
    """Give the lines of drawn tables."""
    return [line for line in text.splitlines() if line[:1] in {*"┏┃┡│└"}]


def fill(shop: Shop) -> None:
    """Let ann buy, return, repeat herself and break things; bob only returns."""
    shop.send(
        purchase(1),
        purchase(1),
        None,
        purchase(2, items=MANY),
        purchase(3, **RETURN),
        purchase(4, store_id="S0002", items=[item("Wine", 3), item("Coffee", 1)]),
        purchase(5)[:-3],
    )
    other = purchase(6, "cid", event_id="e9")
    shop.send(other, key="cid")
    shop.send(purchase(7, event_id="e9"))
    shop.send(purchase(8, "bob", event_type="VOID", items=[]), key="bob", partition=1)


ANN = [
    (0, "e1", "folded", ""),
    (1, "e1", "duplicate", ""),
    (2, None, "filtered", ""),
    (3, "e2", "dead_lettered", "too_many_keys"),
    (4, "e3", "folded", ""),
    (5, "e4", "folded", ""),
    (6, None, "dead_lettered", "undecodable"),
    (8, "e9", "duplicate", "conflict"),
]


def test_every_purchase_is_accounted_for_and_the_values_follow(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeats, tombstones, returns, dead letters and ids of other visitors included.

    What was mended since does not change what is told of the past; a record that was
    not read yet is listed as such. The page in docs shows what is printed.
    """
    fill(shop)
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 10)
        assert service.drain(40) == 0
    monkeypatch.setenv("COLUMNS", "112")
    _, out, _ = ask(capsys, shop.config, "explain", "ann", "--events")
    assert tables(out) == tables(DOCS.read_text(encoding="utf-8"))
    shop.send(purchase(10))
    shop.change("max_keys = 4", "max_keys = 400")

    found = explained(capsys, shop, "ann", "--events")
    replayed = found["events"]
    told = [
        (one["offset"], one["event_id"], one["became"], one["reason"])
        for one in replayed["events"]
    ]
    assert told == [*ANN, (9, None, "not_read_yet", "")]
    assert replayed["differing"] == []
    assert sent(found) == {
        "orders": "2",
        "net_revenue": "45.00",
        "last_store": "S0002",
        "categories": "Wine;Coffee",
    }
    states = {one["name"]: one["made_of"] for one in found["profile"]["attributes"]}
    assert states["net_revenue"] == "4500 from 3 values"
    assert states["categories"] == "Wine 3, Coffee 1"
    assert "S0002, of event e4 at 2026-03-02 12:04:00Z" in states["last_store"]
    gave = {one["offset"]: one["gave"] for one in replayed["events"]}
    assert gave[4] == {"net_revenue": ["-500"], "categories": ["Coffee x -1"]}
    assert gave[1] == {}
    assert found["profile"]["line"] == "ann,2,45.00,S0002,Wine%3BCoffee"
    assert (found["partition"], found["next_offset"], found["end"]) == (0, 9, 10)
    assert found["profile"]["source_offset"] == 5

    monkeypatch.setenv("COLUMNS", "160")
    _, out, _ = ask(capsys, shop.config, "explain", "ann", "--events")
    assert "Does Target have it? not yet." in out
    assert (
        "9 purchases of this visitor: 3 folded, 2 duplicate, 1 filtered, 2 dead_" in out
    )
    assert "too_many_keys" in out
    assert "Replayed, they give exactly the stored profile." in out

    bob = explained(capsys, shop, "bob")
    assert bob["profile"]["line"] is None
    assert (
        bob["profile"]["rejected"]
        == "no attribute has a value, so Target would skip the row"
    )


def test_what_nobody_can_know_is_said(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown visitors, one whose purchases are all refused, a topic cut short."""
    fill(shop)
    shop.send(purchase(20, "eve+", event_id="e20"), key="eve+", partition=1)
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 11)
        assert service.drain(40) == 0

    nobody = explained(capsys, shop, "nobody", "--events")
    assert (nobody["partitions"], nobody["partition"]) == (2, None)
    code, out, _ = ask(capsys, shop.config, "explain", "nobody")
    assert code == 1
    assert "nobody has no profile" in out
    eve = explained(capsys, shop, "eve+", "--events")
    (event,) = eve["events"]["events"]
    assert (event["became"], event["reason"]) == ("dead_lettered", "invalid_visitor")

    admin = AdminClient({"bootstrap.servers": shop.kafka.bootstrap})
    place = TopicPartition(shop.topic, 0, 4)
    admin.delete_records([place])[place].result(10)
    found = explained(capsys, shop, "ann", "--events")
    assert [one["offset"] for one in found["events"]["events"]] == [4, 5, 6, 8]
    assert found["events"]["differing"] == ["orders", "net_revenue", "categories"]
    (note,) = found["events"]["notes"]
    assert note.startswith("Records before offset 4 are gone from the topic")


async def test_it_tells_what_target_has(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not yet, under way, accepted, delivered, rejected; and which version it has."""
    await asyncio.to_thread(_not_yet_to_accepted, shop, capsys)
    options = TargetOptions(calls_per_minute=10_000, processing_time=0.2)
    async with TargetSandbox(options) as target:
        shop.change("http://127.0.0.1:9", target.endpoint)
        await asyncio.to_thread(_delivered_and_rejected, shop, capsys)
    assert target.profile("ann") is not None


def _delivery(
    capsys: pytest.CaptureFixture[str], shop: Shop, visitor: str
) -> tuple[str, int | None]:
    found = explained(capsys, shop, visitor)["delivery"]
    return found["state"], found["has"]


def _not_yet_to_accepted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    fill(shop)
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 10)
        assert service.drain(40) == 0
    assert _delivery(capsys, shop, "ann") == ("waiting", None)
    ledger = UploadsLedger(load_settings(shop.config))
    offset = explained(capsys, shop, "ann")["versions"][-1]["offset"]
    entry = Entry("b1", 0, ((offset, offset),), exact=True, rows=1, intent_at=1.0)
    ledger.write([entry])
    assert _delivery(capsys, shop, "ann") == ("in_flight", None)
    ledger.write([entry.accept("acme-1", "http://status", 2.0, None)])
    found = explained(capsys, shop, "ann")["delivery"]
    assert (found["state"], found["batch_id"]) == ("accepted", "acme-1")
    ledger.end("b1", [0])
    ledger.close()
    assert _delivery(capsys, shop, "ann") == ("waiting", None)


def _delivered_and_rejected(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    with shop.running() as service:
        deadline = time.monotonic() + PATIENCE
        while _delivery(capsys, shop, "ann") != ("delivered", 1):
            service.require_running()
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert _delivery(capsys, shop, "bob") == ("rejected", None)
        _, out, _ = ask(capsys, shop.config, "explain", "bob")
        assert "rejected" in out
        assert "all_empty" in out
        assert service.drain(40) == 0
    shop.send(purchase(30, event_id="e30"))
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 1)
        assert service.drain(40) == 0
    assert _delivery(capsys, shop, "ann") == ("waiting", 1)
