"""A draft in columns becomes Kafka keys and values: Avro behind Confluent framing."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from consumer.sandbox.purchases.draw import Draft
from consumer.sandbox.purchases.schema import SCHEMA, framing
from consumer.sandbox.purchases.shop import (
    CURRENCY,
    PAYMENTS,
    Catalogue,
    event_ids,
    joined,
    numbered,
    visitor_ids,
)
from consumer.sandbox.purchases.spec import Kind, Spec

_TYPES: Final = {Kind.RETURN: "RETURN", Kind.VOID: "VOID"}


def columns(spec: Spec, goods: Catalogue, draft: Draft) -> pa.RecordBatch:
    """Return the rows as the schema's columns, before anything is spoiled."""
    rows = len(draft.kind)
    own = np.arange(rows, dtype=np.int64)
    # A conflict takes the id of the row that it repeats.
    ids = event_ids(spec.seed, draft.first + own).take(pa.array(draft.same_as))
    types = pa.array(np.full(rows, "SALE", object), pa.string())
    for kind, symbol in _TYPES.items():
        types = pc.if_else(pa.array(draft.rows(kind)), symbol, types)
    stores = numbered("S", draft.store, 4)
    registers = numbered("R", draft.register)
    receipts = joined(
        stores, "-", registers, "-", numbered("", draft.first + own, width=8)
    )
    quantity = pa.array(draft.quantity.astype(np.int32))
    articles = pa.array(draft.article)
    items = pa.StructArray.from_arrays(
        [
            goods.sku.take(articles),
            goods.category.take(articles),
            quantity,
            pa.array(goods.price_minor[draft.article]),
        ],
        names=["sku", "category", "quantity", "unit_price_minor"],
    )
    return pa.record_batch(
        {
            "event_id": ids,
            "event_type": types,
            "visitor_id": _visitors(draft),
            "store_id": stores,
            "register_id": registers,
            "receipt_id": receipts,
            "refers_to": ids.take(
                pa.array(draft.refers_to, mask=draft.refers_to < 0, type=pa.int64())
            ),
            "occurred_at": pa.array(draft.occurred_ms).cast(pa.timestamp("ms")),
            "currency": pa.array(np.full(rows, CURRENCY, object), pa.string()),
            "total_minor": pa.array(draft.total_minor),
            "payment_method": pa.array(PAYMENTS).take(pa.array(draft.payment)),
            "items": pa.ListArray.from_arrays(
                pa.array(draft.item_starts.astype(np.int32)), items
            ),
        }
    )


def _visitors(draft: Draft) -> pa.StringArray:
    """Return the visitors, some of them missing or impossible for Target."""
    visitors = visitor_ids(draft.visitor)
    missing = draft.rows(Kind.MISSING_VISITOR)
    blanks = [None if turn % 2 else "" for turn in range(int(missing.sum()))]
    visitors = pc.replace_with_mask(
        visitors, pa.array(missing), pa.array(blanks, pa.string())
    )
    invalid = draft.rows(Kind.INVALID_VISITOR)
    forms = ("a/b/{}", "tag+{}@example.com", "{}" + "x" * 256)
    refused = [
        forms[turn % len(forms)].format(rank)
        for turn, rank in enumerate(draft.visitor[invalid].tolist())
    ]
    return pc.replace_with_mask(
        visitors, pa.array(invalid), pa.array(refused, pa.string())
    )


def keys(draft: Draft, batch: pa.RecordBatch) -> list[bytes]:
    """Return each record's key: the visitor, or the till where there is none."""
    tills = joined(
        "till:", batch.column("store_id"), "-", batch.column("register_id")
    ).filter(pa.array(draft.rows(Kind.MISSING_VISITOR)))
    named = pc.replace_with_mask(
        batch.column("visitor_id"),
        pa.array(draft.rows(Kind.MISSING_VISITOR)),
        tills,
    )
    listed: list[bytes] = named.cast(pa.binary()).to_pylist()
    return listed


def values(batch: pa.RecordBatch, schema_id: int) -> list[bytes]:
    """Encode each row as Avro with Confluent framing."""
    (encoded,) = pyruhvro.serialize_record_batch(batch, SCHEMA, 1)
    framed: list[bytes] = pc.binary_join_element_wise(
        pa.scalar(framing(schema_id), pa.binary()),
        encoded,
        pa.scalar(b"", pa.binary()),
    ).to_pylist()
    return framed
