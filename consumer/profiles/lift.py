"""What a batch adds to profiles, as the encoded fields of their records.

Enters: events with their slots. Leaves: for each field of the profile record the bytes
of every slot, as `Fold` would lift and encode them. All attributes share one order of
the events, and no value becomes an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from consumer.compiled import sealed
from consumer.profiles import merge_kernel as kernel
from consumer.profiles.algebra.limits import LONGS
from consumer.profiles.operands import Operands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.frames import Events
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.buffer import Scratch
    from consumer.profiles.columns import Ints

    Operation = tuple[int, int, int]

# Keys of one visitor in one batch; who has more goes the way of columns.
MOST_KEYS: Final = 4_096
LONGEST: Final = 10  # bytes of an encoded long
NO_TEXTS: Final = np.zeros(1, np.uint8)


class Unfit(Exception):  # noqa: N818 - it says what happened
    """The batch has what only the way of columns can judge."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Field `f` of slot `s` is `data[bounds[f, s]:bounds[f, s + 1]]`."""

    data: NDArray[np.uint8]
    bounds: Ints


@dataclass(frozen=True, slots=True)
class Values:
    """A column as the kernels read it: longs, bits of doubles, or offsets of texts."""

    numbers: Ints
    texts: NDArray[np.uint8]
    storage: int

    def __post_init__(self) -> None:
        """Make the arrays of one kind."""
        object.__setattr__(self, "numbers", sealed(self.numbers))
        object.__setattr__(self, "texts", sealed(self.texts))

    @classmethod
    def of(cls, column: pl.Series | pa.Array) -> Values:
        """Take a column of longs, doubles or text; what is null is 0 or empty."""
        if isinstance(column, pl.Series):
            if column.dtype == pl.Float64:
                bits = column.fill_null(0.0).to_numpy().view(np.int64)
                return cls(bits, NO_TEXTS, kernel.DOUBLE)
            if column.dtype != pl.String:
                longs = column.fill_null(0).to_numpy().astype(np.int64, copy=False)
                return cls(longs, NO_TEXTS, kernel.LONG)
            column = column.to_arrow()
        if pa.types.is_integer(column.type):
            longs = column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
            return cls(longs, NO_TEXTS, kernel.LONG)
        column = column.cast(pa.large_string())
        _, offsets, data = column.buffers()
        if not len(column):
            return cls(np.zeros(1, np.int64), NO_TEXTS, kernel.STRING)
        every = np.frombuffer(offsets, np.int64)
        texts = np.frombuffer(data, np.uint8) if data else NO_TEXTS
        begin = column.offset
        return cls(every[begin : begin + len(column) + 1], texts, kernel.STRING)

    @property
    def size(self) -> int:
        """The most bytes that all values take, encoded, each once."""
        if self.storage == kernel.STRING:
            count = len(self.numbers) - 1
            return LONGEST * count + int(self.numbers[-1] - self.numbers[0])
        return LONGEST * len(self.numbers)


@dataclass(frozen=True, slots=True)
class Source:
    """The rows that attributes read: events, or items."""

    frame: pl.DataFrame
    order: Ints
    starts: Ints
    owners: Ints
    items: Ints


class Lift:
    """One batch's events, sorted once, ready to be lifted attribute by attribute."""

    def __init__(
        self, events: Events, slots: Ints, count: int, scratch: Scratch
    ) -> None:
        """Take the slot of each event, and the number of slots.

        The fields lie in `scratch`: they are good until it is used again.
        """
        self._events, self._slots, self._count = events, slots, count
        self._scratch = scratch
        self._operands = Operands(events, slots, count)
        self._times = sealed(events.identity["event_time"].to_numpy())

    def fields(
        self,
        header: Sequence[Any],
        attributes: Sequence[tuple[AttributePlan, Operation]],
    ) -> Fields:
        """Encode columns with a value a slot, and after them the attributes."""
        first = [Values.of(column) for column in header]
        rest = [self._field(plan, operation) for plan, operation in attributes]
        sizes = [one.size for one in first] + [size for size, _, _ in rest]
        data = self._scratch.room(sum(sizes) + kernel.PADDING)
        bounds = np.empty((len(sizes), self._count + 1), np.int64)
        put = 0
        for field, one in enumerate(first):
            into = data, bounds[field], put
            put = kernel.put_values(one.numbers, one.texts, one.storage, *into)
        for field, (_, write, words) in enumerate(rest, len(first)):
            put = write(*words, data, bounds[field], put)
        return Fields(data, bounds)

    def _field(
        self, plan: AttributePlan, operation: Operation
    ) -> tuple[int, Any, tuple[Any, ...]]:
        """Give an attribute's room, and how it is written with what words."""
        kind, storage, argument = operation
        source = self._items if plan.source == "items" else self._of_events
        operand = source.frame[plan.operand_column]
        values = Values.of(operand)
        valid = sealed(operand.is_not_null().to_numpy())
        rows = source.order, source.starts, valid
        room = values.size + 4 * LONGEST * self._count
        column = values.numbers, values.texts, storage
        match kind:
            case kernel.TOTAL:
                weights = self._weights(plan, source, valid)
                _check(values.numbers, weights)
                return room, kernel.put_totals, (*rows, values.numbers, weights)
            case kernel.EXTREME:
                return room, kernel.put_extremes, (*rows, *column, argument)
            case kernel.KEYS | kernel.WEIGHTS:
                weights = self._weights(plan, source, valid)
                _check(weights)
                most = min(MOST_KEYS, int(np.diff(source.starts).max(initial=0)))
                scratch = np.empty(most, np.int64), np.empty(most, np.int64)
                weighted = int(kind == kernel.WEIGHTS)
                words = (*rows, *column, weights, weighted, *scratch)
                return room + LONGEST * len(valid), kernel.put_keys, words
        ids = self._ids
        place = source.owners, self._times, ids.numbers, ids.texts, source.items
        lengths = np.diff(ids.numbers)[source.owners]
        room += int(lengths.sum()) + 3 * LONGEST * len(valid)
        write = kernel.put_edges if kind == kernel.EDGE else kernel.put_recents
        return room, write, (*rows, *column, argument, *place)

    def _weights(
        self, plan: AttributePlan, source: Source, valid: NDArray[np.bool_]
    ) -> Ints:
        if plan.weight_column is None:
            return sealed(np.ones(len(valid), np.int64))
        return Values.of(source.frame[plan.weight_column]).numbers

    @cached_property
    def _ids(self) -> Values:
        return Values.of(self._events.identity["event_id"])

    @cached_property
    def _of_events(self) -> Source:
        events, count = self._operands.sorted("event"), len(self._events)
        return Source(
            self._events.operands,
            events.rows,
            events.starts,
            sealed(np.arange(count)),
            sealed(np.zeros(count, np.int64)),
        )

    @cached_property
    def _items(self) -> Source:
        items, in_order = self._operands.items, self._operands.sorted("items")
        return Source(
            items.operands,
            in_order.rows,
            in_order.starts,
            sealed(items.events),
            sealed(items.index.astype(np.int64)),
        )


def _check(numbers: Ints, weights: Ints | None = None) -> None:
    """Raise where sums of numbers, times weights, might not fit a long."""
    most = _largest(numbers) * (1.0 if weights is None else _largest(weights))
    if len(numbers) * most >= LONGS:
        raise Unfit


def _largest(numbers: Ints) -> float:
    return float(np.abs(numbers).max(initial=0))
