"""The board: the latest facts for the status page, written by the stages.

Small, bounded, and safe to write from any thread; `status_page` draws it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.telemetry.health import Component, Health

BATCHES_SHOWN: Final = 20
TROUBLES_SHOWN: Final = 10
SAMPLES_KEPT: Final = 180
"""A quarter of an hour, at a sample every five seconds."""

_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition in one stage; `state` is a word or a sentence of what it does.

    `lag` in records, `lag_seconds` the age of the oldest of them where it is known,
    `restored` from 0 to 1 while the local store is brought up to date.
    """

    stage: str
    partition: int
    state: str
    next_offset: int | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    restored: float | None = None


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One batch file; `at` is its last news, in seconds since the epoch."""

    batch: str
    at: float
    rows: int
    size_bytes: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A line logged at warning or above; `times` in a row."""

    at: float
    level: str
    sentence: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters' sums at one moment (seconds since the epoch), by a short name."""

    at: float
    totals: Mapping[str, float]


class StatusBoard:
    """What the page shows, kept short."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Start with nothing to show; `now` gives seconds since the epoch."""
        self._now = now
        self._lock = Lock()
        self._partitions: dict[tuple[str, int], PartitionStatus] = {}
        self._batches: dict[str, BatchStatus] = {}
        self._troubles: deque[Trouble] = deque(maxlen=TROUBLES_SHOWN)
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self._calls: deque[float] = deque()
        self.budget: int | None = None

    def partition(self, status: PartitionStatus) -> None:
        """Show a partition as it is now."""
        with self._lock:
            self._partitions[status.stage, status.partition] = status

    def forget(self, stage: str, partition: int) -> None:
        """Stop showing a partition that is no longer ours."""
        with self._lock:
            self._partitions.pop((stage, partition), None)

    def batch(self, status: BatchStatus) -> None:
        """Show a batch among the last ones, in the place of its earlier news."""
        with self._lock:
            self._batches.pop(status.batch, None)
            self._batches[status.batch] = status
            while len(self._batches) > BATCHES_SHOWN:
                del self._batches[next(iter(self._batches))]

    def batch_outcome(self, batch: str, outcome: str) -> None:
        """Add the end of a batch, if it is still shown; it keeps its place."""
        with self._lock:
            if (shown := self._batches.get(batch)) is not None:
                self._batches[batch] = replace(shown, at=self._now(), outcome=outcome)

    def call(self) -> None:
        """Count a call to Target."""
        now = self._now()
        with self._lock:
            self._calls.append(now)
            self._trim(now)

    @property
    def now(self) -> float:
        """The time that the board goes by, in seconds since the epoch."""
        return self._now()

    def trouble(self, level: str, sentence: str) -> None:
        """Show a warning or an error among the last ones."""
        now = self._now()
        with self._lock:
            last = self._troubles[-1] if self._troubles else None
            if last is not None and (last.level, last.sentence) == (level, sentence):
                self._troubles[-1] = replace(last, at=now, times=last.times + 1)
            else:
                self._troubles.append(Trouble(now, level, sentence))

    def sample(self, totals: Mapping[str, float]) -> None:
        """Keep the counters' sums of this moment."""
        with self._lock:
            self._samples.append(Sample(self._now(), dict(totals)))

    def partitions(self) -> tuple[PartitionStatus, ...]:
        """Return all partitions, by stage and number."""
        with self._lock:
            return tuple(status for _, status in sorted(self._partitions.items()))

    def batches(self) -> tuple[BatchStatus, ...]:
        """Return the last batches, newest first."""
        with self._lock:
            return tuple(reversed(self._batches.values()))

    def troubles(self) -> tuple[Trouble, ...]:
        """Return the last warnings and errors, newest first."""
        with self._lock:
            return tuple(reversed(self._troubles))

    def samples(self) -> tuple[Sample, ...]:
        """Return the samples of the last quarter of an hour, oldest first."""
        with self._lock:
            return tuple(self._samples)

    def calls_in_last_minute(self) -> int:
        """Count this replica's calls of the last 60 seconds."""
        with self._lock:
            self._trim(self._now())
            return len(self._calls)

    def _trim(self, now: float) -> None:
        while self._calls and self._calls[0] <= now - _MINUTE:
            self._calls.popleft()


def as_json(health: Health, board: StatusBoard) -> dict[str, Any]:
    """Return the page's facts as plain data."""
    readiness = health.readiness()
    return {
        "state": readiness.word,
        "components": {c.name: component_state(c) for c in health.components},
        "partitions": [asdict(status) for status in board.partitions()],
        "batches": [asdict(status) for status in board.batches()],
        "budget": {
            "calls_in_last_minute": board.calls_in_last_minute(),
            "calls_per_minute": board.budget,
        },
        "troubles": [asdict(trouble) for trouble in board.troubles()],
    }


def component_state(component: Component) -> str:
    """Say in words how a component is."""
    return "; ".join(troubles_of(component)) or "ready"


def troubles_of(component: Component) -> list[str]:
    """Say what a component waits for, and each thing that is halted."""
    waiting = [f"not ready: {component.waiting_for}"] if component.waiting_for else []
    return waiting + [f"{name}: {why}" for name, why in component.degraded.items()]
