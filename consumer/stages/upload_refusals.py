"""What becomes of a file that Target refuses: divided, put down row by row, or halted.

`target.bisection` holds the rules. Rows at fault go to the rejected rows, durably,
before their offsets may pass; the rest of their file is delivered. Where the rules say
that the rows are not at fault, a refusal halts the partitions concerned, with all rows
still to be sent, and a mere failure puts the rows back among the waiting ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.errors import PartitionHalt
from consumer.kafka.rejected_rows import RejectedRow
from consumer.stages.upload_reread import versions
from consumer.target.bisection import Verdict
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consumer.stages.upload_context import UploadContext
    from consumer.target.bisection import Search
    from consumer.target.micro_batch import Sealed

REFUSED: Final = "refused_by_target"
"""The reason under which such rows are kept and counted."""

LATELY: Final = 3_600.0
"""Seconds within which another accepted file shows that the account is in order."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that Target did not take, in Target's words."""

    sealed: Sealed
    reason: str
    too_large: bool


class Refusals:
    """Judges refused files and carries the judgement out."""

    def __init__(self, context: UploadContext) -> None:
        """Know of no accepted file yet."""
        self._context = context
        context.metrics.rejected_rows.labels(REFUSED)  # as in Intake
        self._accepted_at = float("-inf")

    def accepted(self) -> None:
        """Note that Target took a file just now."""
        self._accepted_at = self._context.clock.monotonic()

    async def judge(self, refusal: Refusal, search: Search) -> list[Sealed] | None:
        """Divide a refused file; none where it is a single row, None to give up.

        A file is divided by partition first, so that one partition's rows do not stop
        the others'. One that is too large is no evidence against its rows.
        """
        context, sealed = self._context, refusal.sealed
        log.warning(
            "Target refuses a batch; it is divided.",
            reason=refusal.reason,
            too_large=refusal.too_large,
            rows=len(sealed),
            partitions=sorted(sealed.partitions),
            refusals=search.refusals + 1,
        )
        verdict = Verdict.DIVIDE
        if not refusal.too_large or len(sealed) == 1:
            verdict = search.refused(len(sealed))
        match verdict:
            case Verdict.DIVIDE:
                return await context.worker(context.pending.divide, sealed.number)
            case Verdict.SUSPECT:
                return []
            case Verdict.GIVE_UP:
                return None

    async def settle(
        self,
        suspects: Sequence[Refusal],
        search: Search,
        kept: Callable[[int], bool],
    ) -> None:
        """Put single rows down as rejected if the search proves them to be at fault.

        Those of a partition that was not `kept` since are its next owner's to judge.
        """
        if not suspects:
            return
        context = self._context
        lately = context.clock.monotonic() - self._accepted_at < LATELY
        if not search.proves(taken_lately=lately):
            first, *others = suspects
            left = [other.sealed for other in others]
            await self.give_up(first, left, search)
            return
        rows = []
        for suspect in suspects:
            if all(map(kept, suspect.sealed.partitions)):
                rows += await self._rejected(suspect)
        await context.durably("keeping rejected rows", context.rejected.write, rows)
        context.metrics.rejected_rows.labels(REFUSED).inc(len(rows))
        log.error(
            "Rows that Target refuses were kept; the rest of their file is delivered.",
            rows=len(rows),
            reasons=sorted({suspect.reason for suspect in suspects}),
            calls=search.refusals + search.taken,
        )
        for suspect in suspects:
            for partition, offset in suspect.sealed.keys.select(
                "partition", "offset"
            ).rows():
                if kept(partition):
                    context.put_down.setdefault(partition, set()).add(offset)
                    await context.worker(context.pending.discard, partition, offset)
        await self._each(suspect.sealed for suspect in suspects)

    async def give_up(
        self, refusal: Refusal, left: Sequence[Sealed], search: Search
    ) -> None:
        """Stop at what is not the rows' fault: halt, or wait where in doubt."""
        context = self._context
        files = [refusal.sealed, *left]
        if search.doubtful:
            log.warning(
                "Target keeps failing; the rows wait for a later batch.",
                reason=refusal.reason,
                rows=sum(map(len, files)),
            )
            await self._each(files, back=True)
            return
        halt = PartitionHalt(
            "rejected_batch",
            "Read Target's reason, correct the attributes, and start again: the "
            "rows are still to be sent.",
            what=f"Target refuses too much to put it down to single rows, after "
            f"{search.refusals:,} refused and {search.taken:,} accepted files: "
            f"{refusal.reason}.",
        )
        for partition in sorted({p for one in files for p in one.partitions}):
            if partition in context.held:
                await context.halt(partition, halt)
        await self._each(files)

    async def _rejected(self, suspect: Refusal) -> list[RejectedRow]:
        """Name a row's profile; none if a newer one has taken its place meanwhile."""
        [(visitor, partition, offset)] = suspect.sealed.keys.select(
            "visitor", "partition", "offset"
        ).rows()
        found = await versions(self._context, partition, offset)
        return [
            RejectedRow(visitor, partition, version, REFUSED, suspect.reason)
            for version in found
        ]

    async def _each(self, files: Iterable[Sealed], *, back: bool = False) -> None:
        """Let files go: their rows are accounted for, or go back to the waiting."""
        context = self._context
        for sealed in files:
            now = context.clock.monotonic()
            leave = context.pending.returned if back else context.pending.ended
            await context.worker(leave, sealed.number, now)
        context.changed.set()
