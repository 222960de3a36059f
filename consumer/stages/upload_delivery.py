"""Delivers one sealed micro-batch: intent, slot, POST, outcome, ledger, commit.

What is guaranteed: no POST without a durable intent; no offset is committed before the
acceptance of its row is durable in the ledger; no row is dropped. A POST whose fate is
unknown may have been taken: the batch is tried again with the same rows, which repeats
an absolute snapshot, and its visitors' latest rows are sent once more after
`confirm_timeout`, so that a copy that lands late does not stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import numpy as np

from consumer.errors import PartitionHalt
from consumer.failpoints import failpoint
from consumer.kafka.uploads_ledger import Entry
from consumer.stages.upload_context import AUTHORISATION_PAUSE, UploadContext
from consumer.target.backoff import full_jitter
from consumer.target.batch_file import body
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consumer.stages.upload_confirmation import Confirmation
    from consumer.target.micro_batch import Sealed

LABELS: Final = {
    Accepted: "accepted",
    Retry: "retry",
    Throttled: "throttled",
    Split: "split",
    Rejected: "rejected",
    Unauthorised: "unauthorised",
}
log = get_logger(__name__)


@dataclass(slots=True)
class _Upload:
    """One batch on its way; `ambiguous_at` is the last try without a clear answer."""

    sealed: Sealed
    entries: list[Entry]
    parts: tuple[bytes, memoryview]
    attempt: int = 0
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
        self._posting: dict[int, frozenset[int]] = {}

    def posting(self) -> Iterable[frozenset[int]]:
        """Return the partitions of each file that is being sent or just accepted."""
        return self._posting.values()

    async def deliver(self, sealed: Sealed, granted: Callable[[], None]) -> None:
        """See a batch through to its acceptance.

        `granted` is called once its first call may start, or when there will be none.
        """
        try:
            waiting = [sealed]
            while waiting:
                waiting += await self._deliver(waiting.pop(0), granted)
        finally:
            granted()

    async def _deliver(
        self, sealed: Sealed, granted: Callable[[], None]
    ) -> Sequence[Sealed]:
        """Deliver one file; returns the files that it was divided into, if it was."""
        context = self._context
        upload = _Upload(sealed, [], body(self._first_line, sealed.rows))
        upload.entries = [
            Entry(
                upload.batch, partition, s.ranges, s.exact, s.rows, context.clock.now()
            )
            for partition, s in sealed.spans.items()
        ]
        began = context.clock.monotonic()
        await context.durably("writing an intent", context.ledger.write, upload.entries)
        context.observe("ledger", began)
        while True:
            began = context.clock.monotonic()
            await context.gate.take("submit")
            context.observe("wait_budget", began)
            granted()
            if not sealed.partitions <= context.calling:
                await self._give_back(upload)
                return ()
            self._posting[sealed.number] = sealed.partitions
            entries: Sequence[Entry] = ()
            try:
                outcome = await self._post(upload)
                if isinstance(outcome, Accepted):
                    entries = await self._accepted(upload, outcome)
            finally:
                self._posting.pop(sealed.number, None)
                context.changed.set()
            if isinstance(outcome, Accepted):
                await self._confirmation.follow(entries, sealed)
                return ()
            if isinstance(outcome, Split | Rejected):
                return await self._refused(upload, outcome)
            await self._pause(upload, outcome)

    async def _post(self, upload: _Upload) -> Outcome:
        context = self._context
        metrics = context.metrics
        upload.attempt += 1
        began = context.clock.monotonic()
        metrics.calls.labels("submit").inc()
        failpoint("before-post")
        reply = await context.client.submit(upload.parts, context.token())
        failpoint("after-post")
        context.observe("post", began)
        outcome = classify(reply, context.clock.now())
        label = LABELS[type(outcome)]
        metrics.upload_batches.labels(label).inc()
        metrics.upload_rows.labels(label).inc(len(upload.sealed))
        metrics.upload_bytes.labels(label).inc(upload.size)
        return outcome

    async def _accepted(self, upload: _Upload, outcome: Accepted) -> Sequence[Entry]:
        """Make the acceptance durable, then let the offsets pass."""
        context = self._context
        now = context.clock.now()
        context.refused("")
        entries = [
            entry.accept(outcome.batch_id, outcome.status_url, now, upload.ambiguous_at)
            for entry in upload.entries
            if entry.partition in context.held
        ]
        began = context.clock.monotonic()
        await context.durably("writing an acceptance", context.ledger.write, entries)
        failpoint("after-acceptance")
        context.observe("ledger", began)
        await context.worker(context.pending.accepted, upload.sealed.number)
        times = upload.sealed.keys["timestamp"].to_numpy() / 1_000.0
        context.metrics.event_to_accepted.observe(np.maximum(0.0, now - times))
        log.info(
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
        pause = full_jitter(upload.attempt, context.random.random)
        match outcome:
            case Throttled(reason, after):
                context.gate.hold(max(after, pause))
            case Unauthorised(reason):
                pause = AUTHORISATION_PAUSE * (0.75 + context.random.random() / 2)
                context.gate.hold(pause)
                context.refused(reason)
                return
            case Retry(reason, ambiguous, after):
                if ambiguous:
                    upload.ambiguous_at = context.clock.now()
                pause = max(after, pause)
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

    async def _refused(
        self, upload: _Upload, outcome: Split | Rejected
    ) -> Sequence[Sealed]:
        """Divide a file that Target refuses; halt its partition if that is no use.

        A file that is too large is halved, one that is rejected is divided by partition
        only, so that one partition's rows do not stop the others'.
        """
        context = self._context
        sealed = upload.sealed
        log.warning(
            "Target refuses a batch.",
            batch=upload.batch,
            outcome=LABELS[type(outcome)],
            reason=outcome.reason,
            rows=len(sealed),
            partitions=sorted(sealed.partitions),
        )
        parts: list[Sealed] = []
        if isinstance(outcome, Split) or len(sealed.partitions) > 1:
            parts = await context.worker(context.pending.divide, sealed.number)
        if not parts:
            halt = PartitionHalt(
                "rejected_batch",
                "Read Target's reason, correct the attributes, and start again: the "
                "rows are still to be sent.",
                what=f"Target refuses a batch of {len(sealed):,} rows: "
                f"{outcome.reason}.",
            )
            for partition in sealed.partitions:
                await context.halt(partition, halt)
            now = context.clock.monotonic()
            await context.worker(context.pending.ended, sealed.number, now)
        await self._close_intent(upload)
        return parts

    async def _give_back(self, upload: _Upload) -> None:
        """Undo a batch with rows of a partition that has left: not ours to send."""
        context = self._context
        now = context.clock.monotonic()
        await context.worker(context.pending.returned, upload.sealed.number, now)
        await self._close_intent(upload)
        context.changed.set()

    async def _close_intent(self, upload: _Upload) -> None:
        """End an intent that came to nothing, unless a copy may have been taken."""
        context = self._context
        entries = [e for e in upload.entries if e.partition in context.held]
        if not entries:
            return
        if upload.ambiguous_at is None:
            where = [entry.partition for entry in entries]
            await context.durably(
                "ending an intent", context.ledger.end, upload.batch, where
            )
        else:
            await self._confirmation.suspect(entries, upload.ambiguous_at)
