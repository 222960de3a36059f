"""The rows that an aggregate folds: operands with the visitor slot of each.

Enters: the events of a batch and the slot of each event. Leaves: for each attribute
the `Rows` that take part, in any order or sorted by slot and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumer.compiled import sealed
from consumer.profiles import columns as cols
from consumer.profiles import order_kernel as kernel
from consumer.profiles.days import local_days

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.frames import Events, Items
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.columns import Column, Ints


@dataclass(frozen=True, slots=True)
class Place:
    """Where in time rows stand: the order in which first, last and recent see them."""

    time: Ints
    event: Column
    item: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Order:
    """The places of rows, looked up only for the rows that are picked."""

    events: Ints
    times: Ints
    ids: Column
    item: NDArray[np.int32]

    def take(self, rows: Ints) -> Place:
        """Give the places of the picked rows."""
        events = self.events[rows]
        return Place(self.times[events], cols.take(self.ids, events), self.item[rows])


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that take part: `slots` (0 to `count` - 1), operand, weight, order.

    Sorted by slot and place for the aggregates that ask for order, else unsorted.
    `event_days` has the day of each event in the window's time zone, None without one.
    """

    count: int
    slots: Ints
    operand: Column
    weight: Ints | None
    order: Order
    event_days: Ints | None = None

    def days(self) -> Ints:
        """Give the day of each row."""
        if self.event_days is None:
            message = "these rows are of an attribute without a window"
            raise AssertionError(message)
        return self.event_days[self.order.events]


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rows by slot and place in time: slot `s` has `rows[starts[s]:starts[s + 1]]`."""

    rows: Ints
    starts: Ints


class Operands:
    """Gives each attribute its rows; sorts at most once for events and for items."""

    def __init__(self, events: Events, slots: Ints, count: int) -> None:
        """Take the slot of each event, and the number of slots."""
        self._events = events
        self._slots = slots
        self._count = count
        self._days: dict[str, Ints] = {}

    def rows(self, plan: AttributePlan, *, ordered: bool) -> Rows:
        """Give the rows of one attribute."""
        items = self._events.items if plan.source == "items" else None
        frame = self._events.operands if items is None else items.operands
        operand = frame[plan.operand_column]
        order = self._item_order if plan.source == "items" else self._event_order
        picked = self.sorted(plan.source).rows if ordered else None
        if operand.null_count():
            valid = operand.is_not_null().to_numpy()
            picked = np.flatnonzero(valid) if picked is None else picked[valid[picked]]
        slots = self._slots[order.events]
        weight = frame[plan.weight_column] if plan.weight_column else None
        if picked is not None:
            operand = operand.gather(pl.Series(picked))
            slots = slots[picked]
            weight = None if weight is None else weight.gather(pl.Series(picked))
            order = Order(
                order.events[picked], order.times, order.ids, order.item[picked]
            )
        return Rows(
            self._count,
            slots,
            cols.from_series(operand),
            None if weight is None else weight.to_numpy(),
            order,
            None if plan.window is None else self._days_in(plan.time_zone),
        )

    def _days_in(self, zone: str) -> Ints:
        if zone not in self._days:
            self._days[zone] = local_days(self._times, zone)
        return self._days[zone]

    @cached_property
    def _event_order(self) -> Order:
        count = len(self._events)
        none = np.zeros(count, np.int32)
        return Order(np.arange(count), self._times, self._ids, none)

    @cached_property
    def _times(self) -> Ints:
        return self._events.identity["event_time"].to_numpy()

    @cached_property
    def _ids(self) -> Column:
        return cols.from_series(self._events.identity["event_id"])

    @cached_property
    def _item_order(self) -> Order:
        items = self.items
        return Order(items.events, self._times, self._ids, items.index)

    @property
    def items(self) -> Items:
        """The batch's items, for a plan that reads them."""
        if self._events.items is None:
            message = "the plan reads items, the batch has none"
            raise AssertionError(message)
        return self._events.items

    def sorted(self, source: str) -> Sorted:
        """Give the rows of a source by slot and place in time."""
        return self._sorted_events if source == "event" else self._sorted_items

    @cached_property
    def _sorted_events(self) -> Sorted:
        """Order events by slot, time and, where these tie, event id."""
        times, slots = sealed(self._times), sealed(self._slots)
        starts = cols.offsets_of(slots, self._count)
        order, spare = np.empty((2, len(slots)), np.int64)
        ties = kernel.by_slot_and_time(
            slots, times, sealed(starts), starts.copy(), order, spare
        )
        if ties:
            order = self._by_place(order)
        return Sorted(sealed(order), sealed(starts))

    def _by_place(self, order: Ints) -> Ints:
        """Order the events by id, too, where some have the slot and time of others."""
        times = self._times
        slots, sorted_times = self._slots[order], times[order]
        tied = (slots[1:] == slots[:-1]) & (sorted_times[1:] == sorted_times[:-1])
        both = np.flatnonzero(np.append(tied, [False]) | np.insert(tied, 0, [False]))
        rank = np.zeros(len(order), np.int64)
        ids = cols.take(self._ids, order[both])
        rank[order[both]] = cols.ranked(ids)[0]
        return np.lexsort((rank, times, self._slots))

    @cached_property
    def _sorted_items(self) -> Sorted:
        """Lay out each event's items in the order of the events."""
        items, events = self.items, self._sorted_events
        owners = items.events
        begins = cols.offsets_of(owners, len(self._events))
        rows = np.empty(len(owners), np.int64)
        starts = np.empty(self._count + 1, np.int64)
        kernel.items_in_order(events.rows, events.starts, sealed(begins), rows, starts)
        return Sorted(sealed(rows), sealed(starts))
