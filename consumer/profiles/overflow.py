"""Which events would push a visitor past a limit: the slow, exact paths.

For `max_keys` only visitors whose folded profile has too many keys come here. Their
events are walked one by one in partition order, and each that would exceed the limit of
any attribute is refused whole; nothing is approximated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

    from consumer.frames import Events
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.columns import Ints

Weights = dict[Any, int]


def may_overflow(plan: AttributePlan, events: Events, slots: Ints, held: Ints) -> bool:
    """Tell whether any slot could come to hold more than `max_keys` keys.

    `held` is how many keys each slot has stored.
    """
    return bool((_most(plan, events, slots, held) > plan.max_keys).any())


def ever_overfull(
    plan: AttributePlan, events: Events, slots: Ints, stored: pa.RecordBatch
) -> NDArray[np.bool_]:
    """Flag the slots that may hold more than `max_keys` keys at some time.

    A key whose weights add up to zero is gone in the end, but was there: all keys of
    the stored profile and of the events count, whatever becomes of them.
    """
    frame, owners = _rows(plan, events, slots)
    held = stored.column(plan.name)
    lengths = pc.list_value_length(held).fill_null(0).to_numpy(zero_copy_only=False)
    near = _most(plan, events, slots, lengths) > plan.max_keys
    keys = {
        slot: {entry["key"] for entry in held[slot].as_py() or []}
        for slot in np.flatnonzero(near).tolist()
    }
    rows = frame[plan.operand_column].is_not_null().to_numpy() & near[owners]
    added = frame[plan.operand_column].filter(rows).to_list()
    for slot, key in zip(owners[rows].tolist(), added, strict=True):
        keys[slot].add(key)
    flagged = np.zeros(len(lengths), bool)
    flagged[[slot for slot, all_of in keys.items() if len(all_of) > plan.max_keys]] = 1
    return flagged


def _most(plan: AttributePlan, events: Events, slots: Ints, held: Ints) -> Ints:
    """Give how many keys each slot has at most: stored ones, and those of its rows.

    Rows are counted first, which is cheap, and by their keys where they are many: a hot
    visitor has more rows in a batch than keys in all.
    """
    frame, owners = _rows(plan, events, slots)
    keys = frame[plan.operand_column]
    rows = keys.is_not_null().to_numpy()
    most: Ints = held + np.bincount(owners[rows], minlength=len(held))
    many = most > plan.max_keys
    if many.any():
        rows &= many[owners]
        distinct = pl.DataFrame({"slot": owners[rows], "key": keys.filter(rows)})
        owners = distinct.unique()["slot"].to_numpy()
        most[many] = (held + np.bincount(owners, minlength=len(held)))[many]
    return most


def _rows(
    plan: AttributePlan, events: Events, slots: Ints
) -> tuple[pl.DataFrame, Ints]:
    """Give the rows that an attribute reads, and the slot of each."""
    if plan.source == "items" and events.items is not None:
        return events.items.operands, slots[events.items.events]
    return events.operands, slots


def refused_events(
    attributes: list[AttributePlan],
    events: Events,
    slots: Ints,
    overfull: NDArray[np.bool_],
    stored: pa.RecordBatch,
) -> NDArray[np.bool_]:
    """Flag the events to refuse, among those of the `overfull` slots.

    `slots` is the slot of each event, `stored` has a row a slot.
    """
    entries = [_entries(plan, events) for plan in attributes]
    refused = np.zeros(len(events), bool)
    for slot in np.flatnonzero(overfull).tolist():
        held = [_held(stored.column(plan.name)[slot].as_py()) for plan in attributes]
        for event in np.flatnonzero(slots == slot).tolist():
            grown = [
                _added(plan, weights, of_event.get(event, []))
                for plan, weights, of_event in zip(
                    attributes, held, entries, strict=True
                )
            ]
            if any(
                len(weights) > plan.max_keys and len(weights) > len(before)
                for plan, weights, before in zip(attributes, grown, held, strict=True)
            ):
                refused[event] = True
            else:
                held = grown
    return refused


def first_misfits(
    slots: Ints,
    large: NDArray[np.bool_],
    fits: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Flag the events from the first of each `large` slot that does not fit.

    `slots` is the slot of each event; `fits` tells of each slot whether its profile
    fits with only the flagged events. All slots are searched at once, by halves.
    """
    counts = np.bincount(slots, minlength=len(large))
    order = np.argsort(slots, kind="stable")
    rank = np.empty(len(slots), np.int64)
    rank[order] = np.arange(len(slots)) - (np.cumsum(counts) - counts)[slots[order]]
    least, most = np.where(large, 0, counts), np.where(large, counts - 1, counts)
    while (open_ := least < most).any():
        middle = (least + most + 1) // 2
        fitting = fits(rank < middle[slots])
        least = np.where(open_ & fitting, middle, least)
        most = np.where(open_ & ~fitting, middle - 1, most)
    refused: NDArray[np.bool_] = rank >= least[slots]
    return refused


def _entries(plan: AttributePlan, events: Events) -> dict[int, list[tuple[Any, int]]]:
    """Give each event's keys with their weights."""
    items = events.items if plan.source == "items" else None
    frame = events.operands if items is None else items.operands
    owners = range(len(events)) if items is None else items.events.tolist()
    keys = frame[plan.operand_column].to_list()
    weights = (
        frame[plan.weight_column].to_list() if plan.weight_column else [1] * len(keys)
    )
    found: dict[int, list[tuple[Any, int]]] = {}
    for owner, key, weight in zip(owners, keys, weights, strict=True):
        if key is not None:
            found.setdefault(owner, []).append((key, weight))
    return found


def _held(state: list[Any] | None) -> Weights:
    return {
        entry["key"] if isinstance(entry, dict) else entry: (
            entry["weight"] if isinstance(entry, dict) else 1
        )
        for entry in state or []
    }


def _added(
    plan: AttributePlan, held: Weights, entries: list[tuple[Any, int]]
) -> Weights:
    if not entries:
        return held
    grown = dict(held)
    for key, weight in entries:
        grown[key] = 1 if plan.aggregate == "distinct" else grown.get(key, 0) + weight
        if grown[key] == 0:
            del grown[key]
    return grown
