"""What a measured process reports of itself: events, wall time, CPU time, memory.

The clock runs from the first progress that is seen (so start, imports, joining the
group and restoring do not count) until `ENOUGH` of the events are done (so waiting for
more at the end of a topic does not count either). CPU time is that of all threads,
from the same first progress to the very end, closing included.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

ENOUGH: Final = 0.95
MILLION: Final = 1_000_000
MARK: Final = "bench-measured: "


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one thing. `detail` holds what only this thing has."""

    events: int
    wall_s: float
    cpu_s_per_million: float
    peak_rss_mb: float
    detail: dict[str, float] = field(default_factory=dict)
    seconds_by_step: dict[str, float] = field(default_factory=dict)

    @property
    def events_per_s(self) -> float:
        """The rate of the measured part."""
        return self.events / self.wall_s

    def report(self) -> None:
        """Tell the parent process, on a line of its own."""
        sys.stdout.write(f"\n{MARK}{json.dumps(asdict(self))}\n")
        sys.stdout.flush()

    @classmethod
    def read(cls, output: str) -> Measured | None:
        """Find the report in a process's output, None if there is none."""
        lines = [line for line in output.splitlines() if line.startswith(MARK)]
        return cls(**json.loads(lines[-1].removeprefix(MARK))) if lines else None


@dataclass(frozen=True, slots=True)
class Sample:
    """How much was done when, in monotonic seconds, and with how much CPU."""

    done: int
    wall: float
    cpu: float


class Meter:
    """Takes the course of a run: call `at` with what is done whenever it grew."""

    def __init__(self) -> None:
        """Begin; nothing is done."""
        self._samples: list[Sample] = []

    def at(self, done: int) -> None:
        """Note what is done by now; what does not exceed the last note is skipped."""
        if done > (self._samples[-1].done if self._samples else 0):
            self._samples.append(Sample(done, time.monotonic(), cpu_seconds()))

    def measured(
        self,
        detail: dict[str, float] | None = None,
        steps: dict[str, float] | None = None,
    ) -> Measured:
        """End the run, now that everything is done and closed."""
        events, wall = window(self._samples)
        first, last = self._samples[0], self._samples[-1]
        # A thing done in one go is measured whole by its caller, not by its course.
        used = cpu_seconds() - first.cpu
        return Measured(
            events,
            wall,
            used / max(1, last.done - first.done) * MILLION,
            peak_rss_mb(),
            detail or {},
            steps or {},
        )


def window(samples: list[Sample]) -> tuple[int, float]:
    """Give the events and seconds from the first sample until enough is done."""
    if len(samples) < 2:  # noqa: PLR2004 - a course has a beginning and an end
        message = "nothing was seen in between: run with more --events"
        raise ValueError(message)
    first, total = samples[0], samples[-1].done
    last = next(one for one in samples[1:] if one.done >= total * ENOUGH)
    return last.done - first.done, last.wall - first.wall


def cpu_seconds() -> float:
    """Give this process's CPU time, of all its threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_rss_mb() -> float:
    """Give this process's largest resident memory so far, in MB."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:  # not Linux: what the parent had before it forked may be in here
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return rss_mb(status)


def rss_mb(status: str) -> float:
    """Read the peak from the text of `/proc/<pid>/status`."""
    line = next(one for one in status.splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6
