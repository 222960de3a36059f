"""Where a partition begins that has no state: the same for every replica and retry.

What `start` stands for is agreed once, when the application announces its first
generation. Whoever asked later, or again after a failure, would get another end; and
whether there is any state tells nothing, since another replica may be first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consumer.kafka.input import InputConsumer


def first_offset(
    source: InputConsumer, start: str | datetime, number: int, ends: Sequence[int]
) -> int:
    """Give the first record to read of a partition.

    `ends` is where the partitions ended when the application began, empty if not known.
    A partition that was added since is read whole, and in doubt so is any other: what
    is read too early can be told, what is skipped is gone.
    """
    low = source.offset_for("earliest", number)
    if start == "earliest" or (ends and number >= len(ends)):
        return low
    if start != "latest":
        return source.offset_for(start, number)
    # An end outside of the topic is that of another one of its name.
    known = bool(ends) and low <= ends[number] <= source.offset_for("latest", number)
    return ends[number] if known else low
