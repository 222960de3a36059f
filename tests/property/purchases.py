"""Random purchases: few values, so that visitors, keys and times collide."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "visitor_id", "type": ["null", "string"]},
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {
            "name": "kind",
            "type": {"type": "enum", "name": "Kind", "symbols": ["SALE", "RETURN"]},
        },
        {"name": "store", "type": "string"},
        {"name": "note", "type": ["string", "null"]},
        {"name": "amount", "type": ["null", "long"]},
        {"name": "ratio", "type": ["null", "double"]},
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {
            "name": "items",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Item",
                    "fields": [
                        {"name": "sku", "type": ["null", "string"]},
                        {"name": "note", "type": "string"},
                        {"name": "quantity", "type": ["null", "int"]},
                        {"name": "unit_price", "type": "int"},
                    ],
                },
            },
        },
    ],
}
PRICE = {
    "name": "price",
    "type": [
        "null",
        {
            "type": "fixed",
            "name": "Price",
            "size": 5,
            "logicalType": "decimal",
            "precision": 9,
            "scale": 2,
        },
    ],
}
PRICED = {**SCHEMA, "fields": [*SCHEMA["fields"], PRICE]}

VISITORS = ("ann", "bob", "Łódź 7", "x" * 256)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = st.sampled_from(["", "A", "a", "Z1", "ä", "日本", "\U0001f600", "￿"])
# Equal times, times before 1970, and a tie with the next visitor's.
TIMES = st.sampled_from(
    [-(10**12), -90_000_000, -1, 0, 1, 83_000_000, 1_700_000_000_000]
).map(lambda millis: EPOCH + timedelta(milliseconds=millis))


def items() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw up to three line items."""
    return st.lists(
        st.fixed_dictionaries(
            {
                "sku": st.none() | TEXTS,
                "note": TEXTS,
                "quantity": st.none() | st.integers(-2, 2),
                "unit_price": st.sampled_from([0, 250, -(2**31), 2**31 - 1]),
            }
        ),
        max_size=3,
    )


def payloads() -> st.SearchStrategy[dict[str, Any]]:
    """Draw an event without its id."""
    return st.fixed_dictionaries(
        {
            "visitor_id": st.sampled_from(VISITORS),
            "occurred_at": TIMES,
            "kind": st.sampled_from(["SALE", "RETURN"]),
            "store": TEXTS,
            "note": st.none() | TEXTS,
            "amount": st.none() | st.integers(-3, 3) | st.just(10**13),
            "ratio": st.none()
            | st.sampled_from([0.0, -0.0, 0.125, -1.5, 1e6, float("nan")]),
            "flag": st.none() | st.booleans(),
            "day": st.none()
            | st.sampled_from([date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29)]),
            "items": items(),
            "price": st.none()
            | st.integers(-(10**9) + 1, 10**9 - 1).map(
                lambda cents: Decimal(cents).scaleb(-2)
            ),
        }
    )


def ids() -> st.SearchStrategy[str]:
    """Draw event ids that do not sort like numbers."""
    return st.text("19aÄ", min_size=1, max_size=3)


def events(largest: int = 12) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw events with ids that differ."""
    return st.dictionaries(ids(), payloads(), max_size=largest).map(
        lambda drawn: [{"event_id": key, **one} for key, one in drawn.items()]
    )


@st.composite
def splits(draw: st.DrawFn, count: int) -> list[slice]:
    """Cut `count` records into batches, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=5)))
    return [
        slice(start, end) for start, end in zip([0, *cuts], [*cuts, count], strict=True)
    ]
