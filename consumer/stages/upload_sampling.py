"""Looks confirmed rows up at Target now and then, to measure what gets lost on the way.

Adobe says that up to 0.1 % of the rows of large batches may get lost, without a word.
Some rows of each complete batch are fetched a while later, since a fetch lags behind;
one that is not there is looked for once more. If the visitor has no newer row, it is
lost: it is counted, and sent again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.stages.upload_reread import latest_rows
from consumer.stages.waiting import wait_for
from consumer.target.backoff import full_jitter
from consumer.target.sample import Found, Sample, judge, values_of
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.stages.upload_context import UploadContext
    from consumer.target.micro_batch import Sealed

MOST_OF_A_BATCH: Final = 10
MOST_WAITING: Final = 10_000
"""Rows to be looked up at most; a budget without room for them measures the rest."""

PAUSES: Final = (600.0, 3_600.0)
"""Seconds from the batch's end, and from the first look, until a row is looked up."""

log = get_logger(__name__)


class Sampling:
    """Picks rows and looks them up; `run` is its loop."""

    def __init__(self, context: UploadContext) -> None:
        """Look nothing up yet."""
        self._context = context
        self._share = context.settings.target.delivery.sample
        self._agenda: list[tuple[float, int, Sample, int]] = []
        self._order = itertools.count()
        self._added = asyncio.Event()

    def pick(self, sealed: Sealed) -> tuple[Sample, ...]:
        """Choose rows of an accepted file by chance."""
        random = self._context.random
        count = int(len(sealed) * self._share + random.random())
        if self._share == 0 or count == 0:
            return ()
        chosen = random.sample(range(len(sealed)), min(count, MOST_OF_A_BATCH))
        attributes = self._context.renderer.attributes
        found = []
        for at in chosen:
            row = sealed.keys.row(at, named=True)
            values = values_of(sealed.rows[at].as_py(), attributes)
            place = row["visitor"], row["partition"], row["offset"]
            found.append(Sample(*place, values))
        return tuple(found)

    def confirmed(self, samples: Iterable[Sample]) -> None:
        """Look rows up that Target says it has applied."""
        for sample in samples:
            self._at(PAUSES[0], sample, 0)

    async def run(self) -> None:
        """Look rows up when they are due, until cancelled."""
        clock = self._context.clock
        while True:
            self._added.clear()
            ahead = self._agenda[0][0] - clock.monotonic() if self._agenda else None
            if ahead is None or ahead > 0:
                await wait_for(self._added, clock, ahead)
                continue
            _, _, sample, looks = heapq.heappop(self._agenda)
            if sample.partition in self._context.held:
                await self._look(sample, looks)

    def _at(self, pause: float, sample: Sample, looks: int) -> None:
        if len(self._agenda) < MOST_WAITING:
            when = self._context.clock.monotonic() + pause
            heapq.heappush(self._agenda, (when, next(self._order), sample, looks))
            self._added.set()

    async def _look(self, sample: Sample, looks: int) -> None:
        context = self._context
        await context.gate.take("fetch")
        context.report.call("fetch")
        reply = await context.client.fetch(sample.visitor, context.token())
        found = judge(sample, reply)
        if found is Found.THROTTLED:
            context.gate.hold(full_jitter(looks + 1, context.random.random))
        if found is not Found.PRESENT and looks + 1 < len(PAUSES):
            self._at(PAUSES[looks + 1], sample, looks + 1)
            return
        word = str(found)
        if found is Found.MISSING:
            word = await self._missing(sample)
        elif found is Found.THROTTLED:
            word = "unknown"
        context.metrics.sampled_rows.labels(word).inc()

    async def _missing(self, sample: Sample) -> str:
        """Tell a lost row, which is sent again, from one that a newer has replaced.

        The visitor is held back meanwhile: no newer row can go out before it.
        """
        context, partition = self._context, sample.partition
        visitor = pl.DataFrame({"visitor": [sample.visitor]})
        own = [(sample.offset, sample.offset)]
        keys = await latest_rows(context, partition, own, visitor)
        number = await context.worker(context.pending.hold, keys, {})
        try:
            return await self._sent_again(sample, visitor)
        finally:
            now = context.clock.monotonic()
            await context.worker(context.pending.ended, number, now)
            context.changed.set()

    async def _sent_again(self, sample: Sample, visitor: pl.DataFrame) -> str:
        context = self._context
        epoch = context.held.get(sample.partition)
        seen = await context.worker(lambda: context.pending.seen)
        if sample.partition not in seen:
            return "unknown"
        stretch = [(sample.offset, seen[sample.partition] - 1)]
        rows = await latest_rows(context, sample.partition, stretch, visitor)
        if rows["offset"].to_list() != [sample.offset]:
            return "superseded"
        if context.held.get(sample.partition) != epoch:
            return "unknown"
        log.warning(
            "Target lost a row that it had confirmed; it is sent again.",
            partition=sample.partition,
            offset=sample.offset,
        )
        origin = await context.worker(context.pending.new_number)
        now = context.clock.monotonic()
        await context.worker(context.pending.again, rows, origin, now)
        return "lost"
