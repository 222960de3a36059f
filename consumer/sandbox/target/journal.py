"""What the sandbox saw: calls, uploaded rows in order of arrival, broken rules.

Tests query it, and the demo counts its calls by it. Pure; times are handed in.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from consumer.sandbox.target.batches import Batch, Status
from consumer.sandbox.target.batchfile import cells_of
from consumer.sandbox.target.faults import Endpoint

MINUTE: Final = 60.0  # seconds
_CALLS_KEPT: Final = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call."""

    at: float
    endpoint: Endpoint
    method: str
    path: str
    status: int  # HTTP; 0 where no answer was given
    metered: bool  # counts against the calls a minute
    authorization: bool  # carried an Authorization header
    size: int  # bytes of its body


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """A rule of the contract that a call broke."""

    at: float
    endpoint: Endpoint
    rule: str


@dataclasses.dataclass(frozen=True, slots=True)
class UploadedRow:
    """A row that was taken, with the attributes that it carried."""

    at: float
    batch_id: str
    visitor: str
    attributes: dict[str, str]


class Meter:
    """Counts calls within the last `period` seconds, and allows `limit` of them."""

    def __init__(self, limit: int, period: float = MINUTE) -> None:
        """Start with none counted."""
        self._limit = limit
        self._period = period
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count a call at `now` if there is room for it, and say so."""
        while self._times and self._times[0] <= now - self._period:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return False
        self._times.append(now)
        return True


class Journal:
    """Everything seen since the start; rows only up to a bound, the oldest go first."""

    def __init__(self, rows_kept: int) -> None:
        """Start empty."""
        self.calls: Final[deque[Call]] = deque(maxlen=_CALLS_KEPT)
        self.violations: Final[list[Violation]] = []
        self.warnings: Final[Counter[str]] = Counter()
        self._batches: deque[Batch] = deque()
        self._rows = 0
        self._rows_kept = rows_kept

    def uploaded(self, batch: Batch) -> None:
        """Note a batch that was taken."""
        self._batches.append(batch)
        self._rows += len(batch.file.rows)
        while self._rows > self._rows_kept and len(self._batches) > 1:
            oldest = self._batches.popleft()
            self._rows -= len(oldest.file.rows)
            if oldest.status is Status.COMPLETE:  # else they are still to be applied
                oldest.file.rows.clear()

    def rows(self, visitor: str | None = None) -> Iterator[UploadedRow]:
        """Yield the uploaded rows, of one visitor or all, in order of arrival."""
        for batch in self._batches:
            for name, cells in batch.file.rows:
                if visitor is None or name == visitor:
                    named = zip(batch.file.names, cells_of(cells), strict=False)
                    values = {attribute: value for attribute, value in named if value}
                    yield UploadedRow(batch.submitted_at, batch.id, name, values)

    def count(self, endpoint: Endpoint | None = None) -> int:
        """Return the number of calls, of one endpoint or all."""
        return sum(endpoint in (None, call.endpoint) for call in self.calls)

    def windows(self, seconds: float) -> dict[float, Counter[Endpoint]]:
        """Return the calls of each window of the clock that had any, by endpoint."""
        if not seconds > 0:
            message = "a window lasts some seconds"
            raise ValueError(message)
        found: dict[float, Counter[Endpoint]] = {}
        for call in self.calls:
            at = call.at // seconds * seconds
            found.setdefault(at, Counter())[call.endpoint] += 1
        return found

    def calls_within(self, start: float, end: float) -> int:
        """Return the number of metered calls from `start` until before `end`."""
        return sum(call.metered and start <= call.at < end for call in self.calls)

    def busiest_minute(self) -> int:
        """Return the most metered calls within any 60 seconds, refused ones too."""
        window: deque[float] = deque()
        most = 0
        for at in sorted(call.at for call in self.calls if call.metered):
            window.append(at)
            while window[0] <= at - MINUTE:
                window.popleft()
            most = max(most, len(window))
        return most
