"""Follows accepted batches to their end, and sends again what may not have landed.

A batch's visitors are held back until it has ended. Where the end is not clear (no
answer to the POST, stuck, failed rows, forgotten, no end within `confirm_timeout`), the
visitors' latest rows are read again from `profiles` and sent once more; the ledger's
entry stays open until those rows are accepted or superseded, so a crash on the way
begins it anew.

An intent without a batch id, left by an earlier owner, is ambiguous: its rows are not
committed, so they come again in the stream and are sent at once; what this cannot rule
out, the earlier copy landing after the newer row, is mended by sending the latest rows
once more when `confirm_timeout` has passed since it was found.

Over 300 lines: the ways that a batch can end are read best side by side.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumer.failpoints import failpoint
from consumer.stages.upload_followed import Followed
from consumer.stages.upload_report import Times
from consumer.stages.upload_reread import latest_rows, send_again
from consumer.stages.waiting import wait_for
from consumer.target.backoff import full_jitter
from consumer.target.offsets import Span
from consumer.target.status import (
    FORGOTTEN_AFTER,
    BatchStatus,
    Progress,
    next_poll,
    read_status,
    status_url,
)
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from consumer.kafka.uploads_ledger import Entry
    from consumer.stages.upload_context import UploadContext
    from consumer.stages.upload_sampling import Sampling
    from consumer.target.micro_batch import Sealed
    from consumer.telemetry.laps import Laps

MOST_ROUNDS: Final = 3
"""How often rows are sent that Target reports as failed, before it is an error."""

_POLLS_TO_TIMEOUT: Final = 30
_LOOK_AGAIN: Final = 1.0  # seconds
_ENDED: Final = (Progress.COMPLETE, Progress.STUCK, Progress.FORGOTTEN)

log = get_logger(__name__)


class Confirmation:
    """Keeps an agenda of polls and repeats; `run` works it off, one at a time."""

    def __init__(self, context: UploadContext, sampling: Sampling) -> None:
        """Follow nothing yet; `sampling` looks up rows of complete batches."""
        self._context = context
        self._sampling = sampling
        self._laps: Laps
        self._agenda: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        self._order = itertools.count()
        self._added = asyncio.Event()
        self._open: dict[str, Followed] = {}
        self._repeating: dict[int, Followed] = {}
        self._rounds: dict[int, int] = {}  # by origin, as are denials
        self._denials: dict[int, int] = {}
        timeout = context.settings.target.delivery.confirm_timeout
        self._timeout = timeout
        first = context.settings.target.delivery.first_poll
        self._first_poll = min(first, timeout / _POLLS_TO_TIMEOUT)

    async def follow(self, entries: Sequence[Entry], sealed: Sealed) -> None:
        """Follow a batch that was just accepted, for the partitions still ours."""
        rounds = 1 + max((self._rounds.get(o, 0) for o in sealed.origins), default=0)
        denials = max((self._denials.get(o, 0) for o in sealed.origins), default=0)
        followed = self._add(entries, sealed.number)
        if followed is not None:
            followed.rounds = rounds
            followed.denials = denials
            followed.times.update(Times.by_partition(sealed.keys))
            followed.numbers.append(sealed.number)
            followed.samples = self._sampling.pick(sealed)
        else:
            await self._free([sealed.number])
        await self._context.commit()
        failpoint("after-offset-commit")
        await self._close_repeated()
        if followed is None:
            return
        if self._context.settings.target.delivery.confirm:
            self._schedule_poll(followed)
        else:
            await self._end(followed)

    async def suspect(self, entries: Sequence[Entry], ambiguous_at: float) -> None:
        """Send the latest rows of a batch of unknown fate again, in due time.

        `ambiguous_at` (monotonic) is the last try that may have been taken.
        """
        number = await self._context.worker(self._context.pending.new_number)
        followed = self._add(entries, number)
        if followed is not None:
            followed.due_at = ambiguous_at + self._timeout
            self._at(followed.due_at, lambda: self._repeat(followed))

    async def take_up(self, entries: Iterable[Entry]) -> None:
        """Take up what earlier owners left open, before the partitions flow.

        The visitors of an accepted batch are found by reading its offsets again; those
        whose record compaction has removed have a newer one, and are not held back.
        """
        for entry in entries:
            if not entry.accepted:
                # it may have been tried until a moment ago
                await self.suspect([entry], self._context.clock.monotonic())
                continue
            keys = await latest_rows(self._context, entry.partition, entry.ranges)
            span = Span(entry.rows, entry.ranges, entry.exact)
            number = await self._context.worker(
                self._context.pending.hold, keys, {entry.partition: span}
            )
            known = entry.batch in self._open
            followed = self._add([entry], number)
            if followed is not None:
                followed.numbers.append(number)
                followed.times.update(Times.by_partition(keys))
                if not known:
                    self._schedule_poll(followed)
            log.info(
                "An open batch was taken up.",
                batch=entry.batch,
                batch_id=entry.batch_id,
                partition=entry.partition,
            )

    def drop(self, partitions: Collection[int]) -> None:
        """Leave batches to the next owners of these partitions."""
        for followed in [*self._open.values(), *self._repeating.values()]:
            for partition in partitions:
                followed.spans.pop(partition, None)

    async def run(self) -> None:
        """Work off the agenda until cancelled."""
        clock, metrics = self._context.clock, self._context.metrics
        with metrics.laps("confirmation", "idle", clock.monotonic) as self._laps:
            while True:
                self._added.clear()
                await self._free_overdue()
                ahead = self._agenda[0][0] - clock.monotonic() if self._agenda else None
                if ahead is None or ahead > 0:
                    self._laps.to("idle")
                    await wait_for(self._added, clock, ahead)
                else:
                    self._laps.to("settle")
                    _, _, act = heapq.heappop(self._agenda)
                    await act()

    def _at(self, when: float, act: Callable[[], Awaitable[None]]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), act))
        self._added.set()

    def _add(self, entries: Sequence[Entry], origin: int) -> Followed | None:
        """Add entries of one batch to what is followed; None if none is ours."""
        ours = [entry for entry in entries if entry.partition in self._context.held]
        if not ours:
            return None
        first = ours[0]
        followed = self._open.get(first.batch)
        if followed is None:
            followed = self._open[first.batch] = Followed(
                first.batch,
                origin,
                first.batch_id,
                self._url(first.batch_id, first.status_url),
                self._monotonic(first.accepted_at or first.intent_at),
                self._context.clock.monotonic(),
            )
        elif first.batch_id and not followed.batch_id:
            # suspected while our own call for it was out
            followed.batch_id = first.batch_id
            followed.url = self._url(first.batch_id, first.status_url)
            followed.accepted_at = self._monotonic(first.accepted_at or first.intent_at)
        for entry in ours:
            followed.add(entry, self._monotonic, self._timeout)
        self._count()
        return followed

    def _url(self, batch_id: str, given: str = "") -> str:
        target = self._context.settings.target
        return status_url(
            given,
            batch_id,
            endpoint=target.endpoint,
            client=target.client,
            suffixes=target.status_hosts,
        )

    def _monotonic(self, at: float) -> float:
        """Return when a time of the ledger (epoch seconds) was, by our own clock.

        One that is still to come was written by a clock that was wrong, or ours is.
        """
        clock = self._context.clock
        return clock.monotonic() - max(0.0, clock.now() - at)

    def _schedule_poll(self, followed: Followed) -> None:
        chance = self._context.random.random
        pause = next_poll(followed.polls, chance, first=self._first_poll)
        now = self._context.clock.monotonic()
        if followed.polls == 0:  # a batch taken up may have been accepted long ago
            when = max(now, followed.accepted_at + pause)
        else:
            when = now + pause
        self._at(when, lambda: self._poll(followed))

    async def _poll(self, followed: Followed) -> None:
        """Ask for a batch's status and act on it."""
        context = self._context
        if not followed.spans:
            await self._forget(followed)
            return
        self._laps.to("wait_budget")
        await context.gate.take("status")
        self._laps.to("status")
        context.report.call("status")
        reply = await context.client.status(followed.url, context.token())
        self._laps.to("settle")
        followed.polls += 1
        status = read_status(reply, followed.batch_id, context.clock.now())
        context.metrics.status_answers.labels(status.progress).inc()
        followed.heard(status.progress, context.clock.monotonic())
        if status.progress in _ENDED:
            await self._ended(followed, status)
            return
        if status.progress is Progress.UNAUTHORISED:
            # ask where the token may go: no other host is given it
            followed.url = self._url(followed.batch_id)
        if status.progress is Progress.THROTTLED:
            pause = full_jitter(followed.polls, context.random.random)
            context.gate.hold(max(status.after, pause))
        if status.detail:
            log.warning(
                "A batch's status could not be read.",
                batch=followed.batch,
                batch_id=followed.batch_id,
                reason=status.detail,
            )
        await self._watch_age(followed)

    async def _watch_age(self, followed: Followed) -> None:
        """Free the visitors of a batch that takes too long; give it up after a day."""
        age = self._context.clock.monotonic() - followed.accepted_at
        if age > FORGOTTEN_AFTER:
            await self._ended(followed, BatchStatus(Progress.FORGOTTEN))
            return
        if age > self._timeout and followed.numbers:
            await self._overdue(followed, age)
        self._schedule_poll(followed)

    async def _free_overdue(self) -> None:
        """Free visitors in time also where the answers to statuses are slow to come."""
        now = self._context.clock.monotonic()
        for followed in [*self._open.values()]:
            age = now - max(followed.accepted_at, followed.since)
            if age > self._timeout and followed.numbers and followed.spans:
                await self._overdue(followed, age)

    async def _overdue(self, followed: Followed, age: float) -> None:
        log.warning(
            "A batch has no end yet; its visitors' next rows are sent meanwhile.",
            batch=followed.batch,
            batch_id=followed.batch_id,
            age_seconds=round(age),
        )
        self._context.metrics.batch_ends.labels("overdue").inc()
        self._context.report.board.batch_outcome(followed.batch, "overdue")
        await self._doubt(followed)
        await self._free(followed.numbers)

    async def _ended(self, followed: Followed, status: BatchStatus) -> None:
        """Close a batch whose rows landed; send the rows of any other again."""
        if await self._may_land_yet(followed, status):
            return
        metrics = self._context.metrics
        metrics.failed_updates.inc(status.failed)
        metrics.profiles_not_found.inc(status.not_found)
        if status.not_found:
            log.warning(
                "Target has no profile for some of a batch's visitors, and made none; "
                "with v1 it only updates visitors whom it knows from a page.",
                api=self._context.settings.target.api,
                batch=followed.batch,
                batch_id=followed.batch_id,
                rows=status.not_found,
            )
        failed = status.progress is Progress.COMPLETE and status.failed > 0
        end = "failed" if failed else str(status.progress)
        metrics.batch_ends.labels(end).inc()
        self._context.report.board.batch_outcome(followed.batch, end)
        if end == Progress.COMPLETE:
            self._context.report.confirmed(followed.times, [*followed.spans])
            self._sampling.confirmed(followed.samples)
        if failed and followed.rounds >= MOST_ROUNDS:
            log.error(
                "Target keeps failing rows; they are not sent again until they change.",
                batch_id=followed.batch_id,
                failed=status.failed,
                rounds=followed.rounds,
            )
        elif failed or status.progress is not Progress.COMPLETE:
            log.warning(
                "A batch did not land as a whole; its visitors' latest rows are sent "
                "again.",
                batch=followed.batch,
                batch_id=followed.batch_id,
                end=status.progress,
                failed=status.failed,
            )
            followed.failed = failed
            every = len(set(status.failed_rows)) == status.failed
            if failed and every and not followed.doubtful:
                followed.failed_rows = status.failed_rows
            pause = full_jitter(followed.rounds, self._context.random.random)
            now = self._context.clock.monotonic()
            followed.due_at = max(followed.due_at, now + pause)
            self._at(followed.due_at, lambda: self._repeat(followed))
            return
        if followed.doubtful:  # an earlier copy may land until `due_at`
            await self._free(followed.numbers)
            self._at(followed.due_at, lambda: self._repeat(followed))
            return
        await self._end(followed)

    async def _may_land_yet(self, followed: Followed, status: BatchStatus) -> bool:
        """Send the rows of a stuck or denied batch again, and keep an eye on it.

        Target may let a stuck batch through, or deny one that it has: then its rows
        land over newer ones. So the latest rows go at once, the batch is asked for on,
        and they go once more when it has come to its end: complete, denied beyond
        `confirm_timeout`, or, once it was stuck, a day old. A denial that does not
        last is a slip.
        """
        now = self._context.clock.monotonic()
        if followed.may_be_a_slip(status.progress, now, self._timeout):
            self._schedule_poll(followed)
            return True
        due_at = max(followed.due_at, followed.accepted_at + self._timeout)
        if status.progress is Progress.STUCK and not followed.stuck:
            followed.stuck = True
            await self._doubt(followed)
        until = followed.accepted_at + FORGOTTEN_AFTER if followed.stuck else due_at
        if status.progress is Progress.COMPLETE or now > until:
            return False
        if not followed.unsure and not await self._taken_in(followed):
            self._schedule_poll(followed)
            return True
        if not followed.unsure:
            log.warning(
                "A batch has no clear end; its visitors' latest rows are sent again.",
                batch=followed.batch,
                batch_id=followed.batch_id,
                end=status.progress,
            )
            self._context.metrics.batch_ends.labels(status.progress).inc()
            self._context.report.board.batch_outcome(
                followed.batch, str(status.progress)
            )
            followed.unsure = True
            followed.due_at = due_at
            await self._doubt(followed)
            self._note_denial(followed)
            await self._send_again(followed)
        self._schedule_poll(followed)
        return True

    async def _doubt(self, followed: Followed) -> None:
        """Note, for later owners too, that the batch may land over newer rows."""
        followed.doubtful = True
        followed.entries = {
            partition: replace(entry, doubtful=True, stuck=followed.stuck)
            for partition, entry in followed.entries.items()
            if partition in followed.spans
        }
        context = self._context
        entries = list(followed.entries.values())
        await context.durably("noting a doubt", context.ledger.write, entries)

    async def _end(self, followed: Followed) -> None:
        """Write the end and free the visitors."""
        context = self._context
        where = sorted(followed.spans)
        failpoint("before-confirm")
        await context.durably(
            "ending a batch", context.ledger.end, followed.batch, where
        )
        failpoint("after-confirm")
        await self._forget(followed)

    async def _forget(self, followed: Followed) -> None:
        self._close(followed)
        self._repeating.pop(followed.origin, None)
        self._rounds.pop(followed.origin, None)
        self._denials.pop(followed.origin, None)
        await self._free(followed.numbers)

    def _close(self, followed: Followed) -> None:
        if self._open.get(followed.batch) is followed:
            del self._open[followed.batch]
        self._count()

    async def _free(self, numbers: list[int]) -> None:
        context = self._context
        while numbers:
            now = context.clock.monotonic()
            await context.worker(context.pending.ended, numbers.pop(), now)
        context.changed.set()

    async def _repeat(self, followed: Followed) -> None:
        """Put the visitors' latest rows among the waiting ones once more."""
        if not await self._taken_in(followed):
            again = self._context.clock.monotonic() + _LOOK_AGAIN
            self._at(again, lambda: self._repeat(followed))
            return
        self._close(followed)  # a partition that comes back begins a new one
        if followed.failed:
            self._rounds[followed.origin] = followed.rounds
        self._note_denial(followed)
        await self._send_again(followed)
        self._repeating[followed.origin] = followed
        await self._close_repeated()

    async def _taken_in(self, followed: Followed) -> bool:
        """Whether its partitions have begun to flow: only then can rows be sent again.

        Just after a take-over they have not.
        """
        context = self._context
        seen = await context.worker(lambda: context.pending.seen)
        return followed.spans.keys() <= seen.keys()

    def _note_denial(self, followed: Followed) -> None:
        if followed.denied_since is not None:
            self._denials[followed.origin] = followed.denials + 1

    async def _send_again(self, followed: Followed) -> None:
        """Put the visitors' latest rows among the waiting ones, and free them."""
        spans, numbers = dict(followed.spans), followed.numbers
        only = followed.failed_rows
        await send_again(self._context, spans, followed.origin, numbers, only)
        await self._free(numbers)

    async def _close_repeated(self) -> None:
        """End the batches whose repeated rows are all accepted or superseded."""
        if not self._repeating:
            return
        context = self._context
        still = await context.worker(context.pending.open_origins)
        for origin, followed in list(self._repeating.items()):
            if origin not in still:
                await self._end(followed)

    def _count(self) -> None:
        self._context.metrics.in_flight_batches.set(len(self._open))
