"""The recount, against examples worked out by hand."""

from __future__ import annotations

import datetime as dt
import io
import json

import fastavro
import pytest

from consumer.sandbox.accumulators import (
    AGGREGATES,
    DEMO_ATTRIBUTES,
    Attribute,
    Entry,
    Profile,
)
from consumer.sandbox.purchases import SCHEMA
from consumer.sandbox.recount import Record, Recount, SeenIds, recount

PARSED = fastavro.parse_schema(json.loads(SCHEMA))
HOUR = 3_600_000
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def purchase(  # noqa: PLR0913 - what an event is made of
    event_id: str,
    event_type: str = "SALE",
    *,
    visitor: str | None = "anna",
    store: str = "S1",
    at: int = NOON,
    items: tuple[tuple[str, str, int, int], ...] = (("milk", "dairy", 1, 100),),
) -> bytes:
    """Encode one event."""
    out = io.BytesIO(b"\0\0\0\0\x01")
    out.seek(5)
    fastavro.schemaless_writer(
        out,
        PARSED,
        {
            "event_id": event_id,
            "event_type": event_type,
            "visitor_id": visitor,
            "store_id": store,
            "register_id": "R1",
            "receipt_id": "1",
            "refers_to": None,
            "occurred_at": at,
            "currency": "EUR",
            "total_minor": sum(abs(q) * price for _, _, q, price in items),
            "payment_method": "CARD",
            "items": [
                dict(
                    zip(
                        ("sku", "category", "quantity", "unit_price_minor"),
                        item,
                        strict=True,
                    )
                )
                for item in items
            ],
        },
    )
    return out.getvalue()


def counted(*values: bytes | None, horizon_ms: int = 24 * HOUR) -> Recount:
    """Recount values as the records of one partition."""
    records = [Record(b"k", v, NOON, 0, n) for n, v in enumerate(values)]
    return recount(records, DEMO_ATTRIBUTES, {1: SCHEMA}, horizon_ms=horizon_ms)


def test_a_sale_a_return_and_a_late_sale_by_hand() -> None:
    """Every attribute of the demo has the value that a person arrives at."""
    first = (("milk", "dairy", 2, 150), ("rye", "bakery", 1, 400))
    late = (("pen", "toys", 1, 1000),)
    found = counted(
        purchase("b", items=first, store="S2", at=NOON),
        purchase("c", "RETURN", items=(("milk", "dairy", -1, 150),), at=NOON + HOUR),
        purchase("a", items=late, store="S9", at=NOON - 48 * HOUR),
    )
    assert found.profiles == {
        "anna": {
            "orders": "2",
            "returns": "1",
            "revenue": "15.50",  # 7.00 - 1.50 + 10.00
            "last_purchase": "2026-01-01",
            "last_store": "S2",
            "largest_order": "10.00",
            "favourite_category": "bakery",  # one of each is left: the smaller name
            "units": "3",
            "latest_skus": "milk,rye,milk,pen",
            "distinct_stores": "3",
            "first_purchase": "2025-12-30",
        }
    }
    assert found.outcomes == {"folded": 3}


def test_an_attribute_without_a_match_is_absent() -> None:
    """A visitor who only returned has no orders, not zero orders."""
    found = counted(purchase("a", "RETURN", items=(("milk", "dairy", -1, 150),)))
    assert found.profiles["anna"] == {
        "returns": "1",
        "revenue": "-1.50",
        "favourite_category": "none",  # its sentinel: nothing is left of it
        "units": "-1",
        "latest_skus": "milk",
        "distinct_stores": "1",
    }


def test_a_sentinel_stands_for_an_absent_value() -> None:
    """Where a sentinel is declared it is sent in place of nothing."""
    attribute = Attribute("orders", "count", where=lambda _: False, sentinel="none")
    profile = Profile([attribute])
    profile.add({"occurred_at": 1, "event_id": "a"})
    assert profile.render() == {"orders": "none"}


def test_each_reason_is_counted() -> None:
    """Every way to be no event has its own reason; a tombstone is filtered."""
    good = purchase("a")
    found = counted(
        None,
        b"",
        b"\x01" + good[1:],
        b"\0\0\0",
        b"\0\0\0\0\x02" + good[5:],
        good[:-1],
        good + b"\0",
        purchase("b", visitor=None),
        purchase("c", visitor=""),
        purchase("d", visitor="a/b"),
        purchase("e", visitor="a+b"),
        purchase("f", visitor="x" * 257),
        purchase("", visitor="x" * 256),
        good,
    )
    assert found.outcomes == {"filtered": 1, "dead_lettered": 12, "folded": 1}
    assert found.dead_letters == {
        "empty": 1,
        "bad_magic": 1,
        "undecodable": 2,
        "unknown_schema": 1,
        "trailing_bytes": 1,
        "missing_visitor": 2,
        "invalid_visitor": 3,
        "missing_event_id": 1,
    }


def test_the_first_of_equal_ids_counts() -> None:
    """A repeat is a duplicate, and a conflict where its contents differ."""
    again = purchase("a", items=(("car", "toys", 1, 9_000_000),))
    found = counted(purchase("a"), purchase("a"), again)
    assert found.outcomes == {"folded": 1, "duplicate": 2}
    assert found.conflicts == 1
    assert found.profiles["anna"]["revenue"] == "1.00"


def test_a_dead_letter_leaves_its_id_free() -> None:
    """Only a folded event makes its id seen."""
    found = counted(purchase("a", visitor="a/b"), purchase("a"))
    assert found.outcomes == {"dead_lettered": 1, "folded": 1}


def test_partitions_do_not_share_ids() -> None:
    """Repeats are looked for within a partition only."""
    value = purchase("a")
    records = [Record(b"k", value, NOON, partition, 0) for partition in (0, 1)]
    found = recount(records, DEMO_ATTRIBUTES, {1: SCHEMA})
    assert found.outcomes == {"folded": 2}


@pytest.mark.parametrize(
    ("first", "again", "seen"),
    [
        (0, 8 * 1_000 + 999, True),  # eight buckets later, to the bucket's end
        (0, 9 * 1_000, False),  # the ninth
        (999, 9 * 1_000, False),  # by buckets, not by distance
    ],
)
def test_the_horizon_is_eight_buckets_of_stream_time(
    first: int, again: int, *, seen: bool
) -> None:
    """An id is forgotten with the ninth bucket after its first sighting's."""
    ids = SeenIds(8_000)
    ids.advance(first)
    assert ids.first_contents("a", 1) is None
    ids.advance(again)
    assert (ids.first_contents("a", 2) == 1) is seen


def test_stream_time_never_goes_back() -> None:
    """An old timestamp does not bring a forgotten id back."""
    ids = SeenIds(8_000)
    ids.advance(0)
    ids.first_contents("a", 1)
    ids.advance(20_000)
    ids.advance(0)
    assert ids.first_contents("a", 2) is None


def test_a_repeat_does_not_renew_its_id() -> None:
    """The horizon runs from the first sighting."""
    ids = SeenIds(8_000)
    for timestamp, expected in ((0, None), (8_000, 1), (9_000, None)):
        ids.advance(timestamp)
        assert ids.first_contents("a", 1) == expected


def test_without_a_horizon_nothing_is_a_duplicate() -> None:
    """A horizon of zero turns deduplication off."""
    assert counted(purchase("a"), purchase("a"), horizon_ms=0).outcomes == {"folded": 2}


NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
ENTRIES = (
    Entry(5, 2, (NOW + MINUTE, "b", 0)),
    Entry(3, 3, (NOW - MINUTE, "z", 1)),
    Entry(1, 2, (NOW + MINUTE, "b", 1)),
    Entry(4, 1, (NOW - MINUTE, "a", 0)),
    Entry(2, 0, (NOW + MINUTE, "a", 9)),
    Entry(5, -1, (NOW, "m", 0)),
)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("aggregate", "n", "expected"),
    [
        ("count", 1, 6),
        ("sum", 1, 20),
        ("min", 1, 1),
        ("max", 1, 5),
        ("mean", 1, 20 / 6),
        ("first", 1, 4),
        ("last", 1, 1),
        ("distinct", 1, 5),
        ("top", 3, [3, 1, 4]),  # 4 and 5 weigh 1 each: the smaller first
        ("top", 9, [3, 1, 4, 5]),  # 2 weighs nothing
        ("recent", 3, [1, 5, 2]),
    ],
)
def test_each_aggregate_by_hand(
    aggregate: str, n: int, expected: object, *, turned: bool
) -> None:
    """Order is event time, then event id, then item index, whatever came first."""
    part = AGGREGATES[aggregate](Attribute("x", aggregate, n=n))
    assert part.value() is None
    for entry in reversed(ENTRIES) if turned else ENTRIES:
        part.add(entry)
    assert part.value() == expected


WINDOWS = (
    Attribute("orders", "count", window=2, zone="Europe/Berlin"),
    Attribute("spent", "sum", of=lambda row: row["total_minor"], window=2),
    Attribute("most", "max", of=lambda row: row["total_minor"], window=2),
    Attribute("shops", "distinct", of=lambda r: r["store_id"], window=2, sentinel="-"),
)


@pytest.mark.parametrize(
    ("day", "shown"),
    [
        (1, {"orders": "3", "spent": "600", "most": "300", "shops": "2"}),
        (2, {"orders": "3", "spent": "600", "most": "300", "shops": "2"}),
        (3, {"orders": "2", "spent": "300", "most": "300", "shops": "1"}),
        (4, {"orders": "0", "spent": "0", "shops": "-"}),
    ],
)
def test_windows_end_with_the_day_asked_for(day: int, shown: dict[str, str]) -> None:
    """The days are those of the zone: 23:30 in London is tomorrow in Berlin."""
    late = NOON + 11 * HOUR + HOUR // 2
    values = [
        purchase("a", at=NOON, items=(("x", "y", 1, 100),)),
        purchase("b", at=late, items=(("x", "y", 1, 200),)),
        purchase("c", at=NOON + 24 * HOUR, store="S2", items=(("x", "y", 1, 300),)),
    ]
    records = [Record(b"k", value, NOON, 0, n) for n, value in enumerate(values)]
    today = dt.date(2026, 1, day)
    found = recount(records, WINDOWS, {1: SCHEMA}, today=today)
    assert found.profiles["anna"] == shown
