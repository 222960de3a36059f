"""The reference events: deterministic columns, their Avro records, some spoiled.

Enters: a variant and a number of events. Leaves: parts with the columns of the sound
events, for the recount, and the keys and values of all, for the topic.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from bench.job import CATEGORIES, ITEMS, PAYMENTS, SCHEMA, SCHEMA_ID, VISITORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PART: Final = 50_000
BEGIN_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00Z
SPACING_MS: Final = 20
LATEST_MS: Final = 60_000  # an event arrives at most so late
RETURNS: Final = 0.08
STORES: Final = 400
ARTICLES: Final = 5_000
CAMPAIGNS: Final = 20
MOST_UNITS: Final = 4
HALF: Final = 2  # a record cut here ends within its items
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
ID_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from topic to topic: skew of the visitors, share of poison.

    With `once`, every event is of another visitor.
    """

    name: str
    skew: float = 0.0
    poison: float = 0.0
    visitors: int = VISITORS
    once: bool = False


VARIANTS: Final = {
    one.name: one
    for one in (
        Variant("uniform"),
        Variant("zipf", skew=1.2),
        Variant("poison", poison=0.05),
        Variant("visitors-100k", visitors=100_000),
        Variant("visitors-1m", visitors=1_000_000),
        Variant("visitors-10m", visitors=10_000_000),
        Variant("once", once=True),
    )
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive events. `sound` are the columns of those that are events."""

    sound: pa.RecordBatch
    keys: list[bytes]
    values: list[bytes]
    timestamps_ms: list[int]


def generate(variant: Variant, events: int) -> Iterator[Part]:
    """Yield the events in order; equal arguments, equal bytes."""
    draw = _Visitors(variant)
    for first in range(0, events, PART):
        seed = [zlib.crc32(variant.name.encode()), first]
        rng = np.random.default_rng(seed)
        yield _part(rng, variant, draw, first, min(PART, events - first))


class _Visitors:
    """Draws visitor numbers, uniformly or by a zipf law over a shuffled order."""

    def __init__(self, variant: Variant) -> None:
        self._once = variant.once
        self._count = count = variant.visitors
        self._bounds: NDArray[np.float64] | None = None
        if variant.skew:
            weights = np.arange(1, count + 1, dtype=float) ** -variant.skew
            self._bounds = np.cumsum(weights) / weights.sum()
            self._order = np.random.default_rng(1).permutation(count)

    def draw(
        self, rng: np.random.Generator, first: int, count: int
    ) -> NDArray[np.int64]:
        if self._once:
            return np.arange(first, first + count)
        if self._bounds is None:
            return rng.integers(0, self._count, count)
        ranks = np.searchsorted(self._bounds, rng.random(count))
        return self._order[np.minimum(ranks, self._count - 1)]


def _part(
    rng: np.random.Generator, variant: Variant, visitors: _Visitors, first: int, n: int
) -> Part:
    columns = _columns(rng, visitors, first, n)
    records = pyruhvro.serialize_record_batch(columns, SCHEMA, 1)[0]
    framing = pa.scalar(b"\0" + SCHEMA_ID.to_bytes(4, "big"), pa.binary())
    values: list[bytes] = pc.binary_join_element_wise(
        framing, records, pa.scalar(b"", pa.binary())
    ).to_pylist()
    sound = columns
    if variant.poison:
        spoiled = rng.random(n) < variant.poison
        for row in np.flatnonzero(spoiled).tolist():
            values[row] = spoil(values[row], int(rng.integers(0, 4)))
        sound = columns.filter(pa.array(~spoiled))
    keys: list[bytes] = columns.column("visitor_id").cast(pa.binary()).to_pylist()
    arrived = BEGIN_MS + (first + np.arange(n)) * SPACING_MS
    return Part(sound, keys, values, arrived.tolist())


def spoil(value: bytes, kind: int) -> bytes:
    """Break a record: cut it short, lengthen it, strip its framing, or empty it."""
    match kind:
        case 0:
            return value[: len(value) // HALF]
        case 1:
            return value + b"\0\1\2"
        case 2:
            return b'{"event_id": "not Avro"}'
        case _:
            return b""


def _columns(
    rng: np.random.Generator, visitors: _Visitors, first: int, n: int
) -> pa.RecordBatch:
    numbers = first + np.arange(n)
    drawn = visitors.draw(rng, first, n)
    store = rng.integers(0, STORES, n)
    register = rng.integers(1, 20, n).astype(np.int32)
    late = (rng.random(n) ** 4 * LATEST_MS).astype(np.int64)
    article = rng.integers(0, ARTICLES, n * ITEMS)
    quantity = rng.integers(1, MOST_UNITS + 1, n * ITEMS).astype(np.int32)
    price = 49 + article * 7919 % 4_951
    total = (quantity * price).reshape(n, ITEMS).sum(axis=1)
    types = np.where(rng.random(n) < RETURNS, 1, 0)
    campaign = rng.integers(0, CAMPAIGNS, n)
    stores = texts("store-", store, 4)
    items = pa.StructArray.from_arrays(
        [
            texts("4006", article * 7919, 9),
            pa.array(CATEGORIES).take(pa.array(article % len(CATEGORIES))),
            pa.array(quantity),
            pa.array(price),
        ],
        names=["sku", "category", "quantity", "unit_price_minor"],
    )
    bounds = np.arange(0, (n + 1) * ITEMS, ITEMS, dtype=np.int32)
    return pa.record_batch(
        {
            "event_id": event_ids(rng, n),
            "event_type": pa.array(["SALE", "RETURN"]).take(pa.array(types)),
            "visitor_id": texts("crm-", drawn, 10),
            "store_id": stores,
            "register_id": pa.array(register),
            "receipt_id": pc.binary_join_element_wise(
                stores, texts("", numbers, 10), "/"
            ),
            "occurred_at": pa.array(BEGIN_MS + numbers * SPACING_MS - late).cast(
                pa.timestamp("ms")
            ),
            "currency": pa.array(["EUR"]).take(pa.array(np.zeros(n, np.int64))),
            "total_minor": pa.array(total),
            "payment_method": pa.array(PAYMENTS).take(pa.array(register % 4)),
            "campaign": pc.if_else(
                pa.array(campaign < CAMPAIGNS // 2),
                texts("spring-", campaign, 3),
                pa.scalar(None, pa.string()),
            ),
            "items": pa.ListArray.from_arrays(pa.array(bounds), items),
        }
    )


def texts(prefix: str, numbers: NDArray[np.int64], width: int) -> pa.StringArray:
    """Write numbers with leading zeros behind a prefix, all of one width."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    digits = (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    front = np.tile(np.frombuffer(prefix.encode(), np.uint8), (len(numbers), 1))
    return _fixed(np.hstack([front, digits]))


def event_ids(rng: np.random.Generator, n: int) -> pa.StringArray:
    """Draw ids of 128 random bits in hexadecimal."""
    return _fixed(HEX[rng.integers(0, 16, (n, ID_LENGTH))])


def _fixed(characters: NDArray[np.uint8]) -> pa.StringArray:
    count, width = characters.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    data = pa.py_buffer(np.ascontiguousarray(characters))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), data)
