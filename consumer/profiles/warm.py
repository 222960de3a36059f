"""Compile the kernels before they are needed: seconds, the first time on a machine."""

from __future__ import annotations

from functools import cache

import numpy as np

from consumer.compiled import sealed
from consumer.profiles import merge_kernel as kernel
from consumer.profiles import order_kernel as in_order
from consumer.profiles.buffer import Buffer
from consumer.profiles.heaviest_kernel import heaviest
from consumer.profiles.lift import NO_TEXTS
from consumer.profiles.merge import HEADER_PROGRAM
from consumer.profiles.table import Keys, Pairs, Table


@cache
def warm() -> None:
    """Call each kernel of the fold with nothing to do."""
    longs = np.zeros(0, np.int64)
    none, starts = sealed(longs), sealed(np.zeros(1, np.int64))
    rows = none, starts, sealed(np.zeros(0, bool))
    texts = sealed(NO_TEXTS)
    into = np.zeros(kernel.PADDING, np.uint8), np.zeros(1, np.int64), 0
    place = none, none, none, texts, none
    column = none, texts, kernel.LONG
    kernel.put_values(*column, *into)
    kernel.put_totals(*rows, none, none, *into)
    kernel.put_extremes(*rows, *column, 0, *into)
    kernel.put_edges(*rows, *column, 0, *place, *into)
    kernel.put_recents(*rows, *column, 0, *place, *into)
    kernel.put_keys(*rows, *column, none, 0, longs, longs, *into)
    halves = none.view(np.uint64)
    partitions, index = sealed(np.zeros(0, np.int32)), np.full(2, -1, np.int32)
    in_order.distinct(index, partitions, halves, halves, longs, longs)
    in_order.by_slot_and_time(none, none, starts, longs, longs, longs)
    in_order.items_in_order(none, starts, starts, longs, np.zeros(1, np.int64))
    nothing = Buffer.of([])
    frame = sealed(np.zeros(kernel.FRAME, np.uint8))
    bounds = np.zeros((len(HEADER_PROGRAM), 1), np.int64)
    kernel.merge_records(
        HEADER_PROGRAM,
        nothing.data,
        nothing.bounds,
        nothing.data,
        bounds,
        frame,
        *into[:2],
        np.zeros((0, 0), np.int64),
    )
    kernel.longs_of(HEADER_PROGRAM, nothing.data, nothing.bounds, 0, longs)
    table = Table()
    table.put(Pairs(Keys.of([]), nothing))
    table.read(longs, nothing.data, longs)
    table.find(Keys.of([]))
    table.shrink(0)
    nothing.copy_to(nothing.data, longs)


@cache
def warm_rendering() -> None:
    """Call what rendering needs alone."""
    longs = np.zeros(0, np.int64)
    heaviest(sealed(np.zeros(1, np.int64)), sealed(longs), 1, longs, longs)
