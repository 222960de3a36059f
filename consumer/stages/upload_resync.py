"""Sends stored profiles anew: on request, and to keep them alive at Target.

A job concerns one partition. It finds each visitor's latest record up to where the
stream has been taken in, and puts the rows among the waiting ones, a part at a time, so
that they share files, budget and order with the live rows. A visitor who gets a newer
row meanwhile is left out: that row goes its own way, and is never overtaken. A job that
is cut short begins again at its first part that was not accepted, here or at the
partition's next owner; rows sent twice are the same snapshots.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from consumer.stages.upload_rendering import encoded_rows, reject, without_put_down
from consumer.stages.waiting import wait_for
from consumer.target.latest import Latest, Selection, chunks, ranges
from consumer.target.micro_batch import SCHEMA
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from consumer.kafka.control_follower import ControlFollower
    from consumer.kafka.control_records import Progress, Request
    from consumer.kafka.rejected_rows import RejectedRow
    from consumer.stages.upload_context import UploadContext

KIND: Final = "resync"
"""The kind of request; its body is one of `visitors` (ids), `older_than` (seconds since
the profile changed) and `all` (true)."""

KEEP_ALIVE: Final = "keep_alive"

LIVES: Final = 3
"""So often a profile is sent anew within `keep_alive`: a round that was missed, while
the service was down, is made good by the next one. What changed within half a round is
left out: with a whole one, that next one would come at the very end of its life."""

PARTS: Final = 48
"""Visitors are spread over so many parts of a round, by their ids."""

PART_ROWS: Final = 5_000
PART_BYTES: Final = 4_000_000  # of profile records; text may be several times as much
FILES_AHEAD: Final = 2
"""So many files' worth of rows sent anew may wait: one goes while the next is read."""

LOOK_SECONDS: Final = 1.0
REPORT_SECONDS: Final = 5.0

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    """One partition's part in sending anew; `parts` are those not known as accepted.

    A part is its origin in `Pending`, its first and its next offset, and its rows.
    What lies before `start` is accepted. `done` and `total` count rows, those of
    earlier owners included.
    """

    partition: int
    cause: str
    selection: Selection
    request: Request | None = None
    start: int = 0
    done: int = 0
    total: int = 0
    parts: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    reported_at: float = float("-inf")


class Resync:
    """Serves requests and keep-alive for the partitions that are ours; see `run`."""

    def __init__(self, context: UploadContext, control: ControlFollower | None) -> None:
        """Serve nothing yet; without `control` there are no requests."""
        self._context = context
        self._control = control
        self._serving: set[int] = set()
        self._jobs: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._feeding = asyncio.Lock()  # one partition at a time is read and fed

    def begin(self, partitions: Collection[int]) -> None:
        """Serve partitions that flow now."""
        self._serving.update(partitions)
        self._wake.set()

    def drop(self, partitions: Collection[int]) -> None:
        """Leave partitions, and what is asked of them, to their next owners."""
        self._serving.difference_update(partitions)
        for key in [key for key in self._jobs if key[1] in partitions]:
            self._jobs.pop(key).cancel()

    async def run(self) -> None:
        """Start what is asked for or due, until cancelled."""
        if self._control is not None:
            loop = asyncio.get_running_loop()
            self._control.on_change(partial(loop.call_soon_threadsafe, self._wake.set))
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                self._serve_requests(group)
                ahead = self._keep_alive(group)
                await wait_for(self._wake, self._context.clock, ahead)

    def _serve_requests(self, group: asyncio.TaskGroup) -> None:
        """Begin requests that are new to us, and end those that were taken back."""
        if self._control is None:
            return
        view = self._control.view
        asked = {request.id for request in view.requests(KIND)}
        for key in [key for key in self._jobs if key[0] not in asked | {KEEP_ALIVE}]:
            self._jobs.pop(key).cancel()
        for partition in sorted(self._serving):
            for request in view.open_requests(KIND, partition):
                if (request.id, partition) not in self._jobs:
                    known = view.progress(request.id).get(partition)
                    work = self._asked(request, partition, known)
                    self._jobs[request.id, partition] = group.create_task(work)

    async def _asked(
        self, request: Request, partition: int, known: Progress | None
    ) -> None:
        """Serve one request in one partition, from where an earlier owner was."""
        try:
            selection = selection_of(request.body, request.at)
        except (ValueError, KeyError, TypeError) as error:
            job = _Job(partition, KIND, Selection(), request)
            log.warning("A request to send anew is unreadable.", problem=repr(error))
            await self._report(job, "failed")
            return
        job = _Job(partition, KIND, selection, request)
        if known is not None:
            job.start, job.done = int(known.body.get("next", 0)), known.done
        self._context.put_down.pop(partition, None)  # what was refused is tried again
        await self._work(job)

    def _keep_alive(self, group: asyncio.TaskGroup) -> float | None:
        """Begin the part of the round that is due; return the seconds to the next."""
        life = self._context.settings.target.keep_alive
        if life is None:
            return None
        now = self._context.clock.now()
        length = life / LIVES / PARTS
        part = int(now / length)
        selection = Selection(
            before=int((now - life / LIVES / 2) * 1_000), part=(part % PARTS, PARTS)
        )
        for partition in sorted(self._serving):
            before = self._jobs.get((KEEP_ALIVE, partition))
            if before is not None and before.get_name() == str(part):
                continue
            if before is not None and not before.done():
                log.warning(
                    "The calls do not suffice to keep all profiles alive in time.",
                    partition=partition,
                )
                continue
            work = self._work(_Job(partition, KEEP_ALIVE, selection))
            task = group.create_task(work, name=str(part))
            self._jobs[KEEP_ALIVE, partition] = task
        return (part + 1) * length - now

    async def _work(self, job: _Job) -> None:
        """See a job through."""
        async with self._feeding:
            await self._feed(job)
        while job.parts:
            await self._context.clock.sleep(LOOK_SECONDS)
            await self._look(job)
        await self._report(job, "done")
        if job.request is not None:
            log.info(
                "Profiles were sent anew.",
                request=job.request.id,
                partition=job.partition,
                rows=job.done,
            )

    async def _feed(self, job: _Job) -> None:
        """Find the rows, and put them among the waiting ones as there is room."""
        context, partition = self._context, job.partition
        pending = context.pending
        while (end := await context.worker(pending.watch, partition)) is None:
            await context.clock.sleep(LOOK_SECONDS)
        try:
            chosen = await context.durably("looking for profiles", self._find, job, end)
            job.total = job.done + len(chosen)
            rows = min(PART_ROWS, context.settings.target.batch.max_rows)
            for offsets in chunks(chosen, rows, PART_BYTES):
                await self._room(job)
                await self._put(job, ranges(offsets))
        finally:
            await context.worker(pending.unwatch, partition)

    def _find(self, job: _Job, end: int) -> pl.DataFrame:
        latest = Latest(job.selection)
        for batch in self._context.ranges.keys(job.partition, end):
            latest.add(batch.keys, batch.offsets, batch.timestamps, batch.sizes)
        return latest.chosen(job.start)

    async def _put(self, job: _Job, where: list[tuple[int, int]]) -> None:
        context = self._context
        doing = "reading profiles again"
        read = partial(context.durably, doing, self._read, job.partition, where)
        found = await context.readable(job.partition, read)
        if found is None:
            return
        rows, rejected = found
        if rejected:
            await reject(context, rejected)
        origin = await context.worker(context.pending.new_number)
        now = context.clock.monotonic()
        offered = await context.worker(
            context.pending.offer, job.partition, rows, origin, now
        )
        context.metrics.resent_rows.labels(job.cause).inc(offered)
        asked = sum(last - first + 1 for first, last in where)
        job.parts.append((origin, where[0][0], where[-1][1] + 1, asked))
        context.changed.set()

    def _read(
        self, partition: int, where: list[tuple[int, int]]
    ) -> tuple[pl.DataFrame, list[RejectedRow]]:
        context = self._context
        frames, rejected = [pl.DataFrame(schema=SCHEMA)], []
        now = int(context.clock.now() * 1_000)
        for batch in context.ranges.read(partition, where):
            # their latency counts from here: no event waits for them
            times = np.full_like(batch.timestamps, now)
            rendered = context.renderer.rows(batch.values)
            rows, bad = encoded_rows(context, rendered, partition, batch.offsets, times)
            frames.append(without_put_down(context, partition, rows))
            rejected += bad
        return pl.concat(frames), rejected

    async def _room(self, job: _Job) -> None:
        """Wait until few enough rows of ours wait."""
        context = self._context
        most = FILES_AHEAD * context.settings.target.batch.max_rows
        while True:
            waiting = await self._look(job)
            if waiting < most and not await context.worker(
                lambda: context.pending.full
            ):
                return
            await context.clock.sleep(LOOK_SECONDS)

    async def _look(self, job: _Job) -> int:
        """See what was accepted, report it now and then; return the rows that wait."""
        context = self._context
        waiting = await context.worker(context.pending.open_origins)
        while job.parts and job.parts[0][0] not in waiting:
            _, _, job.start, rows = job.parts.popleft()
            job.done += rows
        if context.clock.monotonic() - job.reported_at >= REPORT_SECONDS:
            await self._report(job, "running")
        return sum(waiting.get(origin, 0) for origin, *_ in job.parts)

    async def _report(self, job: _Job, state: str) -> None:
        """Write how far a request is, so that all see it and a next owner goes on."""
        if job.request is None or self._control is None:
            return
        context = self._context
        job.reported_at = context.clock.monotonic()
        progress = job.request.progress(
            job.partition,
            state,
            context.clock.now(),
            done=job.done,
            total=job.total,
            body={"next": job.parts[0][1] if job.parts else job.start},
        )
        put = self._control.control.put
        await context.durably("reporting progress", put, progress)


def selection_of(body: Mapping[str, Any], at: float) -> Selection:
    """Read what a request asks for; ValueError, KeyError or TypeError if it is none."""
    if body.get("all") is True:
        return Selection()
    if "visitors" in body:
        return Selection(visitors=frozenset(map(str, body["visitors"])))
    return Selection(before=int((at - float(body["older_than"])) * 1_000))
