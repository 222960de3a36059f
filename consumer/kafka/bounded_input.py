"""The consumer of purchases, held to where somebody else has got.

    flows --(a record at the bound)--> waits --(the bound has moved)--> flows

A record at or behind its partition's bound is not given before the bound has passed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from consumer.kafka.input import Batch, InputConsumer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.config import Settings
    from consumer.frames import Records


class BoundedInput(InputConsumer):
    """An `InputConsumer` that stays before `bounds`, offsets by partition.

    `bounds` may be replaced at any time, by any thread; none lets nothing through.
    """

    def __init__(self, settings: Settings, bounds: Mapping[int, int]) -> None:
        """Join the group at the first `consume`."""
        super().__init__(settings)
        self.bounds = bounds
        self._waiting: dict[int, int] = {}  # partitions at their bound: where to go on

    def consume(self, most: int, timeout: float) -> Batch:
        """Wait up to `timeout` seconds for up to `most` records before the bounds."""
        bounds = self.bounds
        passed = {n: at for n, at in self._waiting.items() if bounds.get(n, 0) > at}
        if passed:
            self.start(passed)
        batch = super().consume(most, timeout)
        if batch.records is None:
            return batch
        return Batch(self._within(batch.records, bounds), batch.out_of_range)

    def start(self, offsets: Mapping[int, int]) -> None:
        """Let partitions flow from the given offsets, as far as their bounds."""
        for number in offsets:
            self._waiting.pop(number, None)
        super().start(offsets)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop the flow of partitions, until they are started again."""
        listed = list(partitions)
        for number in listed:
            self._waiting.pop(number, None)
        super().pause(listed)

    def _wait(self, cut: Mapping[int, int]) -> None:
        """Let partitions wait, each to go on at an offset; the first one counts."""
        ours = {n: at for n, at in cut.items() if n in self._started}
        places = {n: min(at, self._waiting.get(n, at)) for n, at in ours.items()}
        self.pause(places)
        self._waiting.update(places)
        self._started.update(places)

    def _within(self, records: Records, bounds: Mapping[int, int]) -> Records | None:
        """Keep what lies before the bounds; the partitions of the rest wait."""
        numbers, places = np.unique(records.partitions, return_inverse=True)
        ends = np.array([bounds.get(int(n), 0) for n in numbers], np.int64)
        beyond = records.offsets >= ends[places]
        if not beyond.any():
            return records
        cut = {
            int(number): int(records.offsets[beyond & (places == place)].min())
            for place, number in enumerate(numbers)
            if (beyond & (places == place)).any()
        }
        self._wait(cut)
        kept = records.take(np.flatnonzero(~beyond))
        return kept if len(kept) else None
