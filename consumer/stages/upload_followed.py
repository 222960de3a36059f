"""A batch that was sent and has not come to its end: what is known of it. Pure.

Times are monotonic, but for those of the ledger's entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consumer.target.offsets import Span
from consumer.target.status import FORGOTTEN_AFTER, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.kafka.uploads_ledger import Entry
    from consumer.stages.upload_report import Times
    from consumer.target.sample import Sample

_KNOWN: Final = (Progress.INCOMPLETE, Progress.COMPLETE, Progress.STUCK)
_DENIED: Final = 1 / 6
"""Share of `confirm_timeout` for which Target must deny a batch that it should know;
twice that each time that rows were sent again for it."""

_DOUBLINGS: Final = 9  # beyond a day already


@dataclass(slots=True, eq=False)
class Followed:
    """An accepted batch, or a suspected one (without id), by the partitions we own.

    `numbers` are its batches in `Pending` that hold visitors back; none once they are
    free. Its rows are not sent again before `due_at`. `since` is when we took it up.
    `denied_since` is the first of the answers in a row that Target does not know it.
    `doubtful`: a copy may land late, so they are sent once more after the end;
    `unsure`: they were sent again already, without an end. `rounds` counts how often
    such rows have failed, this time included, `denials` how often they were denied.
    """

    batch: str
    origin: int
    batch_id: str
    url: str
    accepted_at: float
    since: float
    spans: dict[int, Span] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    times: dict[int, Times] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    due_at: float = float("-inf")
    denied_since: float | None = None
    doubtful: bool = False
    unsure: bool = False
    stuck: bool = False
    failed: bool = False
    failed_rows: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    polls: int = 0
    rounds: int = 1
    denials: int = 0

    def add(
        self, entry: Entry, monotonic: Callable[[float], float], timeout: float
    ) -> None:
        """Take in what the ledger says; `monotonic` translates its times."""
        self.spans[entry.partition] = Span(entry.rows, entry.ranges, entry.exact)
        self.entries[entry.partition] = entry
        self.doubtful |= entry.doubtful
        self.stuck |= entry.stuck
        if entry.ambiguous_at is not None:
            self.doubtful = True
            self.due_at = monotonic(entry.ambiguous_at) + timeout

    def heard(self, progress: Progress, now: float) -> None:
        """Note an answer: how long Target has been denying the batch."""
        if progress in _KNOWN:
            self.denied_since = None
        elif progress is Progress.FORGOTTEN and self.denied_since is None:
            self.denied_since = now

    def may_be_a_slip(self, progress: Progress, now: float, timeout: float) -> bool:
        """Whether Target denies a batch that it should know, and not for long yet."""
        since = self.denied_since
        if progress is not Progress.FORGOTTEN or since is None:
            return False
        long = _DENIED * timeout * 2.0 ** min(self.denials, _DOUBLINGS)
        return now - since < long and now - self.accepted_at <= FORGOTTEN_AFTER
