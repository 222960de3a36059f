"""Measures how long purchases wait until their profiles are committed.

A thread notes the ends of the input and the group's committed offsets, again and again.
A purchase waits from the first look that saw it in the topic to the first one that saw
an offset behind it committed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaException, TopicPartition

if TYPE_CHECKING:
    from tests.faults.arena import Arena

LOOK_SECONDS: Final = 0.1
ASK_SECONDS: Final = 10.0

Look = tuple[float, dict[int, int], dict[int, int]]


class Waits:
    """A context manager that looks while it is open."""

    def __init__(self, arena: Arena) -> None:
        """Look at the arena's input and its aggregate group."""
        self._places = [
            TopicPartition(arena.topic, n) for n in range(arena.plan.partitions)
        ]
        self._group = arena.bystander(f"{arena.name}-aggregate")
        self._looks: list[Look] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()
        self._group.close()

    def longest(self) -> float:
        """Give the longest wait of a purchase that was committed in the end."""
        longest = 0.0
        for number in range(len(self._places)):
            commits = [(at, committed[number]) for at, _, committed in self._looks]
            row = 0
            for seen_at, ends, _ in self._looks:
                while row < len(commits) and commits[row][1] < ends[number]:
                    row += 1
                if row == len(commits):
                    break
                longest = max(longest, commits[row][0] - seen_at)
        return longest

    def _run(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            try:
                at = time.monotonic()
                ends = {
                    one.partition: self._group.get_watermark_offsets(one, ASK_SECONDS)[
                        1
                    ]
                    for one in self._places
                }
                found = self._group.committed(self._places, timeout=ASK_SECONDS)
            except KafkaException:  # a commit is under way
                continue
            self._looks.append((at, ends, {one.partition: one.offset for one in found}))
