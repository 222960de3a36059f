"""Delivers one sealed micro-batch: intent, slot, POST, outcome, ledger, commit.

What is guaranteed: no POST without a durable intent; no offset is committed before the
acceptance of its row is durable in the ledger; no row is dropped. A POST whose fate is
unknown may have been taken: the batch is tried again with the same rows, which repeats
an absolute snapshot, and its visitors' latest rows are sent once more after
`confirm_timeout`, so that a copy that lands late does not stay.

A file that Target refuses is divided, see `upload_refusals`. One that fails for longer
than `target.delivery.deadline` is no longer insisted on: where Target answers, the
file itself may be why, so it is divided as if refused; where it does not, the rows go
back among the waiting ones, and newer rows replace them there.

Over 300 lines: one batch's way is read best in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import numpy as np

from consumer.failpoints import failpoint
from consumer.kafka.uploads_ledger import Entry
from consumer.stages.upload_context import AUTHORISATION_PAUSE, UploadContext
from consumer.stages.upload_refusals import Refusal, Refusals
from consumer.target.backoff import full_jitter
from consumer.target.batch_file import body
from consumer.target.bisection import Search
from consumer.target.outcome import (
    Accepted,
    Outcome,
    Rejected,
    Retry,
    Split,
    Throttled,
    Unauthorised,
    classify,
)
from consumer.telemetry.logging import get_logger
from consumer.telemetry.status import BatchStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consumer.stages.upload_confirmation import Confirmation
    from consumer.target.micro_batch import Sealed
    from consumer.telemetry.laps import Laps

LABELS: Final = {
    Accepted: "accepted",
    Retry: "retry",
    Throttled: "throttled",
    Split: "split",
    Rejected: "rejected",
    Unauthorised: "unauthorised",
}
CUT_OFFS: Final = 3
"""So often in a row a connection may go before the file is out; then the file is taken
to be too large, as some servers say by hanging up."""

TROUBLED: Final = 30.0
"""Seconds for which a file has to fail before readiness shows it."""

_WORTH_DIVIDING: Final = 1_000_000  # bytes; no server finds less too large
_TRIES_OF_A_PART: Final = 3  # once the whole file has failed beyond its deadline

log = get_logger(__name__)


@dataclass(slots=True)
class _Upload:
    """One batch on its way.

    `ambiguous_at` is the last try without a clear answer, `failing_since` the first of
    the tries that failed since something else was in the way; both are monotonic.
    """

    sealed: Sealed
    entries: list[Entry]
    parts: tuple[bytes, memoryview]
    epochs: Mapping[int, int]
    laps: Laps
    attempt: int = 0
    cut_offs: int = 0
    failing_since: float | None = None
    ambiguous_at: float | None = None
    batch: str = field(default_factory=lambda: uuid4().hex)

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)


class Delivery:
    """Sends batches; each `deliver` is a task of its own."""

    def __init__(
        self, context: UploadContext, confirmation: Confirmation, first_line: bytes
    ) -> None:
        """Send files that begin with `first_line`; accepted ones are to be followed."""
        self._context = context
        self._confirmation = confirmation
        self._first_line = first_line
        self._refusals = Refusals(context)
        self._posting: dict[int, frozenset[int]] = {}

    def posting(self) -> Iterable[frozenset[int]]:
        """Return the partitions of each file that is being sent or just accepted."""
        return self._posting.values()

    async def deliver(
        self, sealed: Sealed, granted: Callable[[], None], epochs: Mapping[int, int]
    ) -> None:
        """See a batch through: accepted, put down row by row, halted or given back.

        `granted` is called once its first call may start, or when there will be none.
        `epochs` are those held before the batch was sealed.
        """
        clock = self._context.clock
        with self._context.metrics.laps(
            "delivery", "assemble", clock.monotonic
        ) as laps:
            await self._see_through(sealed, granted, epochs, laps)

    async def _see_through(
        self,
        sealed: Sealed,
        granted: Callable[[], None],
        epochs: Mapping[int, int],
        laps: Laps,
    ) -> None:
        search = Search()
        files = [sealed]
        suspects: list[Refusal] = []
        try:
            while files:
                upload = await self._begin(files.pop(), epochs, laps)
                refusal = await self._send(upload, search, granted)
                laps.to("settle")
                if refusal is None:
                    continue
                parts = await self._refusals.judge(refusal, search)
                await self._close_intent(upload)
                if parts is None:
                    left = [*files, *(suspect.sealed for suspect in suspects)]
                    await self._refusals.give_up(refusal, left, search)
                    return
                if parts:
                    files += reversed(parts)
                else:
                    suspects.append(refusal)
            await self._refusals.settle(suspects, search, partial(self._kept, epochs))
        finally:
            granted()

    async def _begin(
        self, sealed: Sealed, epochs: Mapping[int, int], laps: Laps
    ) -> _Upload:
        """Write the intent."""
        context = self._context
        laps.to("assemble")
        parts = body(self._first_line, sealed.rows)
        upload = _Upload(sealed, [], parts, epochs, laps)
        upload.entries = [
            Entry(
                upload.batch, partition, s.ranges, s.exact, s.rows, context.clock.now()
            )
            for partition, s in sealed.spans.items()
        ]
        laps.to("ledger")
        await context.durably("writing an intent", context.ledger.write, upload.entries)
        return upload

    async def _send(
        self, upload: _Upload, search: Search, granted: Callable[[], None]
    ) -> Refusal | None:
        """Send one file until it is accepted or given back (None), or refused."""
        context = self._context
        sealed = upload.sealed
        while True:
            upload.laps.to("wait_budget")
            await context.gate.take("submit")
            upload.laps.to("settle")
            granted()
            if not self._ours(upload):
                await self._give_back(upload)
                return None
            self._posting[sealed.number] = sealed.partitions
            entries: Sequence[Entry] = ()
            try:
                outcome = await self._post(upload)
                if isinstance(outcome, Accepted):
                    search.accepted()
                    self._refusals.accepted()
                    entries = await self._accepted(upload, outcome)
            finally:
                self._posting.pop(sealed.number, None)
                context.changed.set()
            if isinstance(outcome, Accepted):
                await self._confirmation.follow(entries, sealed)
                return None
            if isinstance(outcome, Split | Rejected):
                too_large = isinstance(outcome, Split)
                return Refusal(sealed, outcome.reason, too_large=too_large)
            await self._pause(upload, outcome)
            if isinstance(outcome, Retry):
                if refusal := self._insisted(upload, outcome, search):
                    return refusal
                if not outcome.answered and self._late(upload):
                    await self._give_back(upload)
                    return None

    def _ours(self, upload: _Upload) -> bool:
        """Whether its partitions have been ours since before it was sealed."""
        partitions, context = upload.sealed.partitions, self._context
        return (
            partitions <= context.calling
            and all(self._kept(upload.epochs, number) for number in partitions)
            and context.confirmed(partitions)
        )

    def _kept(self, epochs: Mapping[int, int], partition: int) -> bool:
        """Whether a partition has been ours since it had the epoch named."""
        epoch = self._context.held.get(partition)
        return epoch is not None and epoch == epochs.get(partition)

    def _late(self, upload: _Upload) -> bool:
        since = upload.failing_since
        deadline = self._context.settings.target.delivery.deadline
        return since is not None and self._context.clock.monotonic() - since > deadline

    def _insisted(
        self, upload: _Upload, outcome: Retry, search: Search
    ) -> Refusal | None:
        """Take a file that keeps failing as refused, if it can be what is at fault."""
        if upload.cut_offs >= CUT_OFFS and upload.size > _WORTH_DIVIDING:
            return Refusal(upload.sealed, outcome.reason, too_large=True)
        tried = search.doubtful and upload.attempt >= _TRIES_OF_A_PART
        if outcome.answered and (tried or self._late(upload)):
            search.doubtful = True
            return Refusal(upload.sealed, outcome.reason, too_large=False)
        return None

    async def _post(self, upload: _Upload) -> Outcome:
        context = self._context
        metrics = context.metrics
        upload.attempt += 1
        upload.laps.to("post")
        context.report.call("submit")
        failpoint("before-post")
        reply = await context.client.submit(
            upload.parts, context.token(), lambda: self._ours(upload)
        )
        failpoint("after-post")
        upload.laps.to("settle")
        outcome = classify(reply, context.clock.now())
        label = LABELS[type(outcome)]
        metrics.upload_batches.labels(label).inc()
        metrics.upload_rows.labels(label).inc(len(upload.sealed))
        metrics.upload_bytes.labels(label).inc(upload.size)
        context.report.board.batch(
            BatchStatus(
                upload.batch,
                context.clock.now(),
                len(upload.sealed),
                upload.size,
                label,
            )
        )
        return outcome

    async def _accepted(self, upload: _Upload, outcome: Accepted) -> Sequence[Entry]:
        """Make the acceptance durable, then let the offsets pass.

        Of a partition that left meanwhile, or may have, somebody else has the intent in
        doubt, and may have sent newer rows before this batch: it stays in doubt.
        """
        context = self._context
        now = context.clock.now()
        ambiguous_at = upload.ambiguous_at
        if ambiguous_at is not None:
            ambiguous_at += now - context.clock.monotonic()
        context.refused("")
        context.failing("")
        entries = []
        for entry in upload.entries:
            partition = entry.partition
            if partition in context.held:
                kept = self._kept(upload.epochs, partition)
                sure = kept and context.confirmed([partition])
                doubt = ambiguous_at if sure else now
                entries.append(
                    entry.accept(outcome.batch_id, outcome.status_url, now, doubt)
                )
        upload.laps.to("ledger")
        await context.durably("writing an acceptance", context.ledger.write, entries)
        failpoint("after-acceptance")
        upload.laps.to("settle")
        await context.worker(context.pending.accepted, upload.sealed.number)
        times = upload.sealed.keys["timestamp"].to_numpy() / 1_000.0
        context.metrics.event_to_accepted.observe(np.maximum(0.0, now - times))
        context.metrics.upload_file_bytes.observe([upload.size])
        log.debug(
            "Target accepted a batch.",
            batch=upload.batch,
            batch_id=outcome.batch_id,
            rows=len(upload.sealed),
            size_bytes=upload.size,
            attempts=upload.attempt,
        )
        return entries

    async def _pause(self, upload: _Upload, outcome: Outcome) -> None:
        """Wait as the outcome asks before the same file is sent again."""
        context = self._context
        label = LABELS[type(outcome)]
        context.metrics.retries.labels(label).inc()
        upload.laps.to("retry")
        pause = full_jitter(upload.attempt, context.random.random)
        match outcome:
            case Throttled(reason, after):
                upload.failing_since = None
                context.gate.hold(max(after, pause))
            case Unauthorised(reason):
                upload.failing_since = None
                pause = AUTHORISATION_PAUSE * (0.75 + context.random.random() / 2)
                context.gate.hold(pause)
                context.refused(reason)
                return
            case Retry(reason, ambiguous, after):
                if ambiguous:
                    upload.ambiguous_at = context.clock.monotonic()
                if upload.failing_since is None:
                    upload.failing_since = context.clock.monotonic()
                upload.cut_offs = upload.cut_offs + 1 if outcome.cut_off else 0
                pause = max(after, pause)
                if context.clock.monotonic() - upload.failing_since >= TROUBLED:
                    context.failing(reason)
            case _:
                raise AssertionError(outcome)
        log.warning(
            "Target did not take a batch; it is sent again.",
            batch=upload.batch,
            outcome=label,
            reason=reason,
            attempt=upload.attempt,
            rows=len(upload.sealed),
        )
        if isinstance(outcome, Retry):
            await context.clock.sleep(pause)

    async def _give_back(self, upload: _Upload) -> None:
        """Undo a batch with rows of a partition that has left: not ours to send."""
        context = self._context
        log.info(
            "A batch is not sent: partitions of it have left, or may have.",
            batch=upload.batch,
            partitions=sorted(upload.sealed.partitions),
        )
        now = context.clock.monotonic()
        await context.worker(context.pending.returned, upload.sealed.number, now)
        await self._close_intent(upload)
        context.changed.set()

    async def _close_intent(self, upload: _Upload) -> None:
        """End an intent that came to nothing, unless a copy may have been taken.

        Of a partition that has left, even if it is back, it is no longer ours to end:
        whoever had it in between may have committed past its rows, counting on it.
        """
        context = self._context
        entries = [
            entry
            for entry in upload.entries
            if self._kept(upload.epochs, entry.partition)
        ]
        if not entries:
            return
        if upload.ambiguous_at is None:
            where = [entry.partition for entry in entries]
            await context.durably(
                "ending an intent", context.ledger.end, upload.batch, where
            )
        else:
            await self._confirmation.suspect(entries, upload.ambiguous_at)
