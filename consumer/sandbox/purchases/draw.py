"""Draws one batch of receipts as numbers in columns; enters a `Spec` and a generator.

Every row refers to rows of its own batch only, by index, so batches are independent.
"""

import dataclasses
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from consumer.sandbox.purchases.shop import ARTICLES, PAYMENTS, Catalogue, Ints
from consumer.sandbox.purchases.spec import HOUR_MS, Kind, Spec

KINDS: Final = tuple(Kind)
CODE: Final = {kind: code for code, kind in enumerate(KINDS)}
MAX_ITEMS: Final = 12
_JITTER_MS: Final = 2_000  # several brokers' clients: timestamps are not quite in order
_REPEAT_WITHIN_MS: Final = HOUR_MS
_ROUNDS: Final = 12
_PARTIAL: Final = 0.5  # of the returns

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """One batch: a row for each record, items in flat columns behind `item_starts`."""

    first: int  # the number of the batch's first record in the whole stream
    kind: Ints  # codes of CODE
    same_as: Ints  # for repeats the row that is repeated, else the row itself
    refers_to: Ints  # for returns and voids the row of the sale, else -1
    visitor: Ints  # rank, 0 is the most frequent
    store: Ints
    register: Ints
    payment: Ints
    occurred_ms: Ints
    timestamp_ms: Ints
    total_minor: Ints
    item_starts: Ints  # one more than rows
    article: Ints
    quantity: Ints  # signed

    def rows(self, *kinds: Kind) -> Mask:
        """Return which rows are of one of these kinds."""
        return np.isin(self.kind, [CODE[kind] for kind in kinds])


class Visitors:
    """Draws visitors by a zipf law, or uniformly."""

    def __init__(self, count: int, skew: float) -> None:
        """Prepare `count` ranks with weights 1 / rank ** skew."""
        self._count = count
        weights = np.arange(1, count + 1, dtype=np.float64) ** -skew if skew else None
        self._cumulated = None if weights is None else weights.cumsum() / weights.sum()

    def draw(self, rng: np.random.Generator, rows: int) -> Ints:
        """Return `rows` ranks."""
        if self._cumulated is None:
            return rng.integers(0, self._count, rows)
        found = np.searchsorted(self._cumulated, rng.random(rows))
        return np.minimum(found, self._count - 1)


def draw(spec: Spec, visitors: Visitors, goods: Catalogue, index: int) -> Draft:
    """Draw batch `index`; the same arguments give the same draft."""
    rng = np.random.default_rng([spec.seed, index])
    first = index * spec.batch
    rows = min(spec.batch, spec.events - first)
    kind = _kinds(spec, rng, rows)
    own = np.arange(rows, dtype=np.int64)

    back = np.isin(kind, (CODE[Kind.RETURN], CODE[Kind.VOID]))
    refers_to = _earlier(rng, back, kind == CODE[Kind.SALE], rows, once=True)
    kind[back & (refers_to < 0)] = CODE[Kind.SALE]
    back = refers_to >= 0
    repeats = np.isin(kind, (CODE[Kind.DUPLICATE], CODE[Kind.CONFLICT]))
    whole = back | (kind == CODE[Kind.SALE])
    near = max(16, spec.events * _REPEAT_WITHIN_MS // max(1, spec.span_ms))
    same_as = _earlier(rng, repeats, whole, near, once=False)
    kind[repeats & (same_as < 0)] = CODE[Kind.SALE]

    visitor = visitors.draw(rng, rows)
    visitor[back] = visitor[refers_to[back]]
    visitor[same_as >= 0] = visitor[same_as[same_as >= 0]]

    timestamp = spec.start_ms + (first + own) * spec.span_ms // max(1, spec.events)
    timestamp -= (rng.random(rows) ** 8 * _JITTER_MS).astype(np.int64)
    occurred = timestamp - _lateness(spec, rng, rows)
    occurred[back] = np.maximum(occurred[back], occurred[refers_to[back]] + 1_000)

    source = np.where(back, refers_to, own)
    starts, article, quantity = _items(rng, kind, source)
    amounts = np.abs(quantity) * goods.price_minor[article]
    return Draft(
        first=first,
        kind=kind,
        same_as=np.where(same_as < 0, own, same_as),
        refers_to=refers_to,
        visitor=visitor,
        store=rng.integers(1, spec.stores + 1, rows),
        register=rng.integers(1, 9, rows),
        payment=rng.choice(len(PAYMENTS), rows, p=[0.6, 0.25, 0.12, 0.03]),
        occurred_ms=occurred // 1_000 * 1_000,  # tills count in seconds, so ties occur
        timestamp_ms=timestamp,
        total_minor=np.add.reduceat(amounts, starts[:-1]),
        item_starts=starts,
        article=article,
        quantity=quantity,
    )


def _kinds(spec: Spec, rng: np.random.Generator, rows: int) -> Ints:
    shares = spec.shares()
    bounds = np.cumsum([shares[kind] for kind in KINDS])
    found = np.searchsorted(bounds, rng.random(rows) * bounds[-1], side="right")
    codes: Ints = np.minimum(found, len(KINDS) - 1).astype(np.int64)
    return codes


def _earlier(
    rng: np.random.Generator, who: Mask, of: Mask, within: int, *, once: bool
) -> Ints:
    """Choose for each row of `who` an earlier row of `of`, at most `within` before it.

    With `once` no row is chosen twice. Returns -1 where there is no choice, which is
    rare but in the first rows.
    """
    chosen = np.full(len(who), -1, np.int64)
    free = of.copy()
    open_rows = np.flatnonzero(who)
    for _ in range(_ROUNDS):
        reach = np.minimum(open_rows, within)
        candidate = open_rows - 1 - (rng.random(len(open_rows)) * reach).astype(int)
        good = (candidate >= 0) & free[candidate]
        if once:
            _, firsts = np.unique(candidate, return_index=True)
            good &= np.isin(np.arange(len(candidate)), firsts)
            free[candidate[good]] = False
        chosen[open_rows[good]] = candidate[good]
        open_rows = open_rows[~good]
    return chosen


def _lateness(spec: Spec, rng: np.random.Generator, rows: int) -> Ints:
    """Return how many milliseconds after the sale each record arrived."""
    late = rng.exponential(2_000, rows)
    how = rng.random(rows)
    days = how < spec.late_by_days
    minutes = ~days & (how < spec.late_by_days + spec.late_by_minutes)
    late[days] = rng.uniform(24 * HOUR_MS, 120 * HOUR_MS, int(days.sum()))
    late[minutes] = rng.uniform(60_000, HOUR_MS, int(minutes.sum()))
    return late.astype(np.int64)


def _items(
    rng: np.random.Generator, kind: Ints, source: Ints
) -> tuple[Ints, Ints, Ints]:
    """Return the starts of each row's items, and their articles and signed quantities.

    A return brings back all lines of its source or the first few, some in part.
    """
    rows = len(kind)
    own_counts = np.minimum(rng.geometric(0.34, rows), MAX_ITEMS)
    own_starts = np.concatenate(([0], np.cumsum(own_counts)))
    popularity = rng.random(own_starts[-1]) ** 2.5
    own_article = (popularity * ARTICLES).astype(np.int64)
    own_quantity = np.minimum(rng.geometric(0.75, own_starts[-1]), 9)

    counts = own_counts[source]
    partial = (kind == CODE[Kind.RETURN]) & (rng.random(rows) < _PARTIAL)
    counts[partial] = 1 + (rng.random(int(partial.sum())) * counts[partial]).astype(int)
    starts = np.concatenate(([0], np.cumsum(counts)))
    flat = np.arange(starts[-1]) + np.repeat(own_starts[source] - starts[:-1], counts)
    quantity = own_quantity[flat]
    some = np.repeat(partial, counts)
    quantity[some] = 1 + (rng.random(int(some.sum())) * quantity[some]).astype(int)
    quantity[np.repeat(source != np.arange(rows), counts)] *= -1
    return starts, own_article[flat], quantity
