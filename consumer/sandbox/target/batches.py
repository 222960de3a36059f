"""Submitted batches on their way: incomplete, then complete or stuck.

A batch's rows reach the profiles when its time has come, in the order of those times,
which need not be the order of submission. Nothing runs in between: whoever looks first
calls `settle`.
"""

import dataclasses
import heapq
from collections.abc import Iterator
from enum import StrEnum

from consumer.sandbox.target.batchfile import BatchFile
from consumer.sandbox.target.profiles import Profiles


class Status(StrEnum):
    """The words of batchStatus."""

    INCOMPLETE = "incomplete"
    COMPLETE = "complete"
    STUCK = "stuck"


@dataclasses.dataclass(slots=True)
class Batch:
    """One accepted submission."""

    id: str
    file: BatchFile
    v2: bool
    submitted_at: float
    due_at: float
    gets_stuck: bool = False
    rows_to_fail: int = 0
    rows_to_lose: int = 0
    status: Status = Status.INCOMPLETE
    successful: int = 0
    not_found: int = 0
    failed: tuple[str, ...] = ()

    @property
    def consumed(self) -> int:
        """Return how many rows were looked at so far."""
        return self.successful + self.not_found + len(self.failed)


class Batches:
    """All batches of one account."""

    def __init__(self, client: str, profiles: Profiles, lifetime: float) -> None:
        """Apply to `profiles`; forget a batch `lifetime` seconds after submission."""
        self._client = client
        self._profiles = profiles
        self._lifetime = lifetime
        self._by_id: dict[str, Batch] = {}
        self._due: list[tuple[float, int, Batch]] = []
        self._count = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order of submission."""
        return iter(self._by_id.values())

    def submit(  # noqa: PLR0913  # what a batch is made of
        self,
        file: BatchFile,
        now: float,
        due_at: float,
        *,
        v2: bool = True,
        gets_stuck: bool = False,
        rows_to_fail: int = 0,
        rows_to_lose: int = 0,
    ) -> Batch:
        """Take a file whose rows are to be applied at `due_at`."""
        self._count += 1
        batch = Batch(
            f"{self._client}-{int(now * 1000)}-{self._count}",
            file,
            v2,
            now,
            due_at,
            gets_stuck,
            rows_to_fail,
            rows_to_lose,
        )
        self._by_id[batch.id] = batch
        heapq.heappush(self._due, (due_at, self._count, batch))
        return batch

    def settle(self, now: float) -> None:
        """Apply, in order, everything that is due by `now`; old profiles expire."""
        self._profiles.expire(now)
        while self._due and self._due[0][0] <= now:
            _, _, batch = heapq.heappop(self._due)
            if batch.gets_stuck:
                batch.status = Status.STUCK
            else:
                self._apply(batch, batch.due_at)

    def find(self, batch_id: str, now: float) -> Batch | None:
        """Return a batch as of `now`, None if unknown or forgotten."""
        self.settle(now)
        batch = self._by_id.get(batch_id)
        if batch is None or now - batch.submitted_at > self._lifetime:
            return None
        return batch

    def unstick(self, batch_id: str, now: float) -> bool:
        """Let a stuck batch through after all; return whether there was one."""
        batch = self.find(batch_id, now)
        if batch is None or batch.status is not Status.STUCK:
            return False
        self._apply(batch, now)
        return True

    def _apply(self, batch: Batch, at: float) -> None:
        rows = batch.file.rows
        failing = [visitor for visitor, _ in rows[: batch.rows_to_fail]]
        applied = self._profiles.upload(
            batch.file.id_kind,
            batch.file.names,
            rows[batch.rows_to_fail + batch.rows_to_lose :],
            at,
            v2=batch.v2,
        )
        swallowed = len(rows[batch.rows_to_fail :][: batch.rows_to_lose])
        batch.successful = applied.successful + swallowed
        batch.not_found = applied.not_found
        batch.failed = (*batch.file.failed, *failing)
        batch.status = Status.COMPLETE
