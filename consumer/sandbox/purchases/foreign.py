"""The same purchases as another retailer would write them, in Avro or in JSON.

Amounts are decimals in bytes, the customer is a record of its own, and a line is an
article or a weighed good, with other names each. Written and read one by one with
fastavro and Python's json: this shares no code with the service.
"""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

import fastavro
import pyarrow as pa

from consumer.sandbox.purchases.schema import framing
from consumer.sandbox.recount import NotAnEvent, decode

RECEIPT: Final = (files(__package__) / "receipt.avsc").read_text(encoding="utf-8")
_PARSED: Final = fastavro.parse_schema(json.loads(RECEIPT))
_FRAMING: Final = 5
_TIERS: Final = ("green", "silver", "gold")


def avro_values(batch: pa.RecordBatch, schema_id: int) -> list[bytes]:
    """Encode each purchase as an Avro receipt with Confluent framing."""
    head = framing(schema_id)
    return [head + _avro(_receipt(row)) for row in batch.to_pylist()]


def json_values(batch: pa.RecordBatch, _schema_id: int) -> list[bytes]:
    """Encode each purchase as a JSON receipt."""
    return [
        json.dumps(_plain(_receipt(row)), ensure_ascii=False).encode()
        for row in batch.to_pylist()
    ]


def read_avro(value: bytes, schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Read an Avro receipt as the purchase that it is, or raise `NotAnEvent`."""
    return _purchase(decode(value, schemas))


def read_json(value: bytes, _schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Read a JSON receipt, with or without framing, or raise `NotAnEvent`."""
    if not value:
        raise NotAnEvent("empty")
    text = value[_FRAMING:] if value[0] == 0 else value
    try:
        found = json.loads(text.decode(), parse_float=Decimal)
    except ValueError as error:
        raise NotAnEvent("undecodable") from error
    if not isinstance(found, dict):
        raise NotAnEvent("undecodable")
    closed = found.get("closed_at")
    found["closed_at"] = closed and datetime.fromisoformat(closed)
    found["lines"] = [
        line["Article"] or line["Weighed"] for line in found.get("lines", [])
    ]
    return _purchase({"id": None, "customer": None, "kind": None} | found)


def _receipt(row: Mapping[str, Any]) -> dict[str, Any]:
    total = Decimal(row["total_minor"]).scaleb(-2)
    visitor = row["visitor_id"]
    tier = _TIERS[row["total_minor"] % len(_TIERS)]
    customer = None if visitor is None else {"loyalty_id": visitor, "tier": tier}
    paid: dict[str, Any] = {
        "CARD": ("com.example.till.Card", {"network": "Visa"}),
        "CASH": ("com.example.till.Cash", {"given": total + 5}),
    }
    return {
        "id": row["event_id"],
        "kind": row["event_type"],
        "customer": customer,
        "closed_at": row["occurred_at"].replace(tzinfo=UTC),
        "shop": {"number": row["store_id"], "till": row["register_id"]},
        "total": total,
        "paid": paid.get(row["payment_method"], row["payment_method"]),
        "lines": [_line(item) for item in row["items"]],
    }


def _line(item: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    department, pieces = item["category"], item["quantity"]
    if int(item["sku"]) % 3 == 0:
        weighed = {"plu": item["sku"], "department": department, "portions": pieces}
        return "com.example.till.Weighed", {**weighed, "grams": None}
    price = Decimal(item["unit_price_minor"]).scaleb(-2)
    article = {"sku": item["sku"], "department": department}
    return "com.example.till.Article", {**article, "pieces": pieces, "price": price}


def _avro(receipt: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED, receipt)
    return out.getvalue()


def _plain(receipt: dict[str, Any]) -> dict[str, Any]:
    """Write amounts as numbers, times as ISO 8601, a line under its kind."""
    lines = []
    for kind, line in receipt["lines"]:
        shown: dict[str, Any] = {"Article": None, "Weighed": None}
        shown[kind.rpartition(".")[2]] = {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in line.items()
        }
        lines.append(shown)
    return {
        **receipt,
        "closed_at": receipt["closed_at"].isoformat(),
        "total": float(receipt["total"]),
        "paid": "elsewhere",
        "lines": lines,
    }


def _purchase(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the recount's attributes look at."""
    customer = receipt["customer"] or {}
    items = [
        {
            "sku": line.get("sku") or line.get("plu"),
            "category": line["department"],
            "quantity": line["pieces"] if "pieces" in line else line["portions"],
        }
        for line in receipt.get("lines", [])
    ]
    total = receipt.get("total")
    return {
        "event_id": receipt["id"],
        "event_type": receipt["kind"],
        "visitor_id": customer.get("loyalty_id"),
        "occurred_at": receipt.get("closed_at"),
        "store_id": (receipt.get("shop") or {}).get("number"),
        "total_minor": None if total is None else int(total * 100),
        "items": items,
    }
