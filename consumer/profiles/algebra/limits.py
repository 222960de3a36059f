"""Sums that stay within a long, or halt the partition: nothing wraps in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from consumer.errors import PartitionHalt

if TYPE_CHECKING:
    from consumer.profiles.columns import Ints

LONGS = 2.0**63


def check_sums(values: Ints, groups: Ints, what: str) -> None:
    """Raise where the sum of one group's values might not fit a long.

    `groups` has the group (0, 1, …) of each value. Only batches whose values are
    large enough for it are looked at closely.
    """
    if not len(values) or len(values) * float(np.abs(values).max()) < LONGS:
        return
    sizes = np.bincount(groups, np.abs(values.astype(np.float64)))
    if (sizes >= LONGS).any():
        raise overflow(what)


def added(left: Ints, right: Ints, what: str) -> Ints:
    """Add two columns of longs; raise where a sum does not fit."""
    total = left + right
    if (((left ^ total) & (right ^ total)) < 0).any():
        raise overflow(what)
    return total


def product(left: Ints, right: Ints, what: str) -> Ints:
    """Multiply two columns of longs; raise where a product does not fit."""
    if (np.abs(left.astype(np.float64) * right) >= LONGS).any():
        raise overflow(what)
    return left * right


def overflow(what: str) -> PartitionHalt:
    """Halt, since `what` no longer fits."""
    return PartitionHalt(
        "overflow",
        "Divide the operand in `of` or `by`, or give the attribute another name.",
        what=f"{what} no longer fits a long.",
    )
