"""Fold a batch of events into the profiles of its visitors.

Enters: events with their partitions and offsets, and the stored profiles of their
visitors. Leaves: the changed profiles as columns. Pure: what is read from and
written to the store and to Kafka is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import polars_hash  # noqa: F401 - registers the `nchash` namespace
import pyarrow as pa
import pyarrow.compute as pc

from consumer.compiled import sealed
from consumer.profiles import columns as cols
from consumer.profiles import order_kernel as kernel
from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed
from consumer.profiles.days import local_days
from consumer.profiles.operands import Operands
from consumer.profiles.record import HEADER
from consumer.profiles.table import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from consumer.frames import Events
    from consumer.plan.compile import Plan
    from consumer.profiles.columns import Ints

ORDERED = frozenset({"first", "last", "recent"})
DAY_MILLIS = 86_400_000
LAST_DAY = 2_932_896  # of the year 9999
SPARE_DAYS = 2


@dataclass(frozen=True, slots=True)
class Slots:
    """The distinct visitors of a batch, sorted by partition and store key.

    `of_event` is the slot of each event; the other columns have a row a slot:
    `partitions` int32, `keys` (the store's) and `visitors`.
    """

    of_event: Ints
    partitions: NDArray[np.int32]
    keys: Keys
    visitors: pa.StringArray

    def __len__(self) -> int:
        """Count the visitors."""
        return len(self.keys)


def hash128(texts: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash text by XXH3-128 over its UTF-8; gives the high and the low halves."""
    low_half = pl.lit(2**64 - 1, dtype=pl.UInt128)
    halves = (
        texts.to_frame("text")
        .select(pl.col("text").nchash.xxh3_128().alias("hash"))  # type: ignore[attr-defined]  # polars_hash registers it
        .select(
            low=(pl.col("hash") & low_half).cast(pl.UInt64),
            high=(pl.col("hash") // 2**64).cast(pl.UInt64),
        )
    )
    return halves["high"].to_numpy(), halves["low"].to_numpy()


def hash64(values: pa.Array) -> NDArray[np.uint64]:
    """Hash bytes by XXH3-64."""
    frame = pl.DataFrame({"value": values})
    hashed = frame.select(pl.col("value").nchash.xxh3_64())  # type: ignore[attr-defined]  # polars_hash registers it
    return hashed["value"].to_numpy()


def packed_hashes(visitors: Iterable[bytes]) -> list[bytes]:
    """Give the store keys of visitor ids in UTF-8, in order."""
    return Keys(*_hashes(visitors)).to_list()


def sorted_hashes(visitors: Iterable[bytes]) -> tuple[list[bytes], NDArray[np.int64]]:
    """Give the store keys of visitor ids, sorted, and where each stood before."""
    high, low = _hashes(visitors)
    order = np.lexsort((low, high))
    return Keys(high[order], low[order]).to_list(), order


def _hashes(
    visitors: Iterable[bytes],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    texts = pa.array(list(visitors), pa.binary()).cast(pa.large_string())
    return hash128(pl.Series(texts))


def assign_slots(visitors: pl.Series, partitions: NDArray[np.int32]) -> Slots:
    """Give each visitor of each partition a slot."""
    high, low = hash128(visitors)
    index = np.full(2 << len(low).bit_length(), -1, np.int32)
    firsts, numbers = np.empty((2, len(low)), np.int64)
    keys = sealed(partitions), sealed(high), sealed(low)
    firsts = firsts[: kernel.distinct(index, *keys, firsts, numbers)]
    order = sorted_by_key(partitions[firsts], high[firsts], low[firsts])
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    firsts = firsts[order]
    return Slots(
        places[numbers],
        partitions[firsts],
        Keys(high[firsts], low[firsts]),
        pa.array(cols.from_series(visitors.gather(pl.Series(firsts)))),
    )


def sorted_by_key(
    partitions: NDArray[np.int32], high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> Ints:
    """Order rows by partition and key; rows of one key come in any order.

    One half of a hash nearly always tells visitors apart, and sorting by one column,
    and then by small numbers, takes a third of the time.
    """
    order = np.argsort(high)
    small = np.min_scalar_type(int(partitions.max(initial=0)))
    order = order[np.argsort(partitions[order].astype(small), kind="stable")]
    first, second = high[order], low[order]
    if ((first[1:] == first[:-1]) & (second[1:] != second[:-1])).any():
        return np.lexsort((low, high, partitions))
    return order


@dataclass(frozen=True, slots=True)
class Times:
    """What time it is for a fold: the stream's, and the calendar's.

    `stream` has each event's stream time in milliseconds: it alone says what windows
    forget, so that a state depends on records only; `latest` the greater of that and
    the record's own. `today` has the day of each slot that windows are rendered as of;
    0 without windows.
    """

    stream: Ints
    latest: Ints
    today: Ints

    def where(self, keep: NDArray[np.bool_]) -> Times:
        """Keep the events whose flag is set."""
        return Times(self.stream[keep], self.latest[keep], self.today)


class Fold:
    """The plan's attributes as one operation on columns."""

    def __init__(self, plan: Plan, generation: int) -> None:
        """Compile the attributes into their monoids."""
        self._generation = generation
        self._attributes = [(a, aggregate_for(a)) for a in plan.attributes]

    def begin(self, generation: int) -> None:
        """Write profiles of another generation from now on."""
        self._generation = generation

    def ours(self, stored: pa.RecordBatch, *, versions: int) -> pa.RecordBatch:
        """Give stored profiles, whole, as our generation's, some versions later."""
        whole = self.whole(stored)
        columns = {field.name: whole.column(field.name) for field in whole.schema}
        columns["version"] = pc.add(columns["version"], versions)
        ours = np.full(stored.num_rows, self._generation, np.int32)
        columns["generation"] = pa.array(ours)
        return pa.RecordBatch.from_pydict(columns)

    def neutral(self, schema: pa.Schema) -> pa.RecordBatch:
        """Give the profile that a new visitor has before any event, as one row."""
        nothing = {f.name: pa.nulls(1, f.type) for f in schema}
        start = {"visitor": "", "version": 0, "source_offset": -1}
        start |= {"generation": self._generation}
        for name, _ in HEADER:
            nothing[name] = pa.array([start.get(name, 0)], nothing[name].type)
        for plan, aggregate in self._attributes:
            state = aggregate.from_arrow(nothing[plan.name])
            nothing[plan.name] = aggregate.to_arrow(state)
        return pa.RecordBatch.from_pydict(nothing)

    def whole(self, stored: pa.RecordBatch) -> pa.RecordBatch:
        """Fill in what profiles of an older schema lack, as a new visitor has it."""
        neutral = self.neutral(stored.schema)
        columns = {
            name: stored.column(name).fill_null(neutral.column(name)[0])
            for name, _ in HEADER
        }
        for plan, aggregate in self._attributes:
            state = aggregate.from_arrow(stored.column(plan.name))
            columns[plan.name] = aggregate.to_arrow(state)
        return pa.RecordBatch.from_pydict(columns)

    def header(self, slots: Slots, offsets: Ints, times: Times) -> pa.RecordBatch:
        """Give the header's fields as the visitors have them by these events alone."""
        count = len(slots)
        reached = np.full(count, -1)
        np.maximum.at(reached, slots.of_event, offsets)
        columns = self._header(slots, np.ones(count, np.int64), reached, times)
        return pa.RecordBatch.from_pydict({n: columns[n] for n, _ in HEADER})

    def fold(
        self,
        slots: Slots,
        events: Events,
        offsets: Ints,
        stored: pa.RecordBatch,
        times: Times,
    ) -> pa.RecordBatch:
        """Fold events into the stored profiles of all slots.

        `offsets` are the source offsets of the events; `stored` has a row a slot, a new
        visitor's is `neutral`. Every slot has at least one event.
        """
        count = len(slots)
        reached = (
            stored.column("source_offset").fill_null(-1).to_numpy(zero_copy_only=False)
        )
        reached = reached.copy()
        np.maximum.at(reached, slots.of_event, offsets)
        versions = stored.column("version").fill_null(0).to_numpy(zero_copy_only=False)
        columns = self._header(slots, versions + 1, reached, times)
        operands = Operands(events, slots.of_event, count)
        for plan, aggregate in self._attributes:
            rows = operands.rows(plan, ordered=plan.aggregate in ORDERED)
            held = aggregate.from_arrow(stored.column(plan.name))
            state = aggregate.combine(held, aggregate.lift(rows))
            if plan.window is not None:
                last = _last(slots, times.stream)
                first = first_kept(last, plan.window, plan.time_zone)
                state = windowed(aggregate).since(state, first)
            columns[plan.name] = aggregate.to_arrow(state)
        return pa.RecordBatch.from_pydict(columns)

    def _header(
        self, slots: Slots, versions: Ints, reached: Ints, times: Times
    ) -> dict[str, Any]:
        count = len(slots)
        # One whose time is in doubt may be right: it must not make a profile expire.
        active = _last(slots, times.latest) // DAY_MILLIS
        return {
            "visitor": slots.visitors,
            "version": pa.array(versions),
            "generation": pa.array(np.full(count, self._generation, np.int32)),
            "source_partition": pa.array(slots.partitions),
            "source_offset": pa.array(reached),
            "as_of_day": pa.array(times.today.astype(np.int32)),
            "active_day": pa.array(np.minimum(active, LAST_DAY).astype(np.int32)),
            "erased_at": pa.array(np.zeros(count, np.int64)),
        }


def _last(slots: Slots, times: Ints) -> Ints:
    """Give the greatest of the times of each slot's events."""
    last = np.zeros(len(slots), np.int64)
    np.maximum.at(last, slots.of_event, times)
    return last


def first_kept(stream_times: Ints, window: int, zone: str) -> Ints:
    """Give the first day that a window keeps at a stream time in milliseconds.

    Two days more than the window has: the day that it is rendered as of may lie
    behind the stream's.
    """
    return local_days(stream_times * 1_000, zone) - (window + SPARE_DAYS - 1)
