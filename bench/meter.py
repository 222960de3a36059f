"""What a measured process reports of itself: events, wall time, CPU time, memory.

The clock runs from when the first record is about to be taken (so start, imports,
joining the group and restoring do not count) until `ENOUGH` of the events are done (so
waiting for more at the end of a topic does not count either). CPU time is that of all
threads, from the same beginning to the very end, closing included.
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
HALF: Final = 0.5
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
        """Wait for `begin`."""
        self._samples: list[Sample] = []

    def begin(self) -> None:
        """Start the clock: the first record is about to be taken."""
        if not self._samples:
            self._samples.append(_sample(0))

    def at(self, done: int) -> None:
        """Note what is done by now; what does not exceed the last note is skipped."""
        self.begin()
        if done > self._samples[-1].done:
            self._samples.append(_sample(done))

    def measured(
        self,
        detail: dict[str, float] | None = None,
        steps: dict[str, float] | None = None,
    ) -> Measured:
        """End the run, now that everything is done and closed."""
        found = measured_course(self._samples, cpu_seconds(), peak_rss_mb())
        found.detail.update(detail or {})
        found.seconds_by_step.update(steps or {})
        return found


def measured_course(samples: list[Sample], cpu: float, rss: float) -> Measured:
    """Make the report of a course; `cpu` are the CPU seconds at the very end."""
    if not samples or not samples[-1].done:
        message = "nothing was done"
        raise ValueError(message)
    events, wall, _ = part(samples, 0.0)
    used = (cpu - samples[0].cpu) / samples[-1].done * MILLION
    return Measured(events, wall, used, rss, second_half(samples))


def _sample(done: int) -> Sample:
    return Sample(done, time.monotonic(), cpu_seconds())


def part(samples: list[Sample], begin: float) -> tuple[int, float, float]:
    """Give events, wall and CPU seconds from a share of the events until `ENOUGH`."""
    total = samples[-1].done
    first = next(one for one in samples if one.done >= total * begin)
    last = next(one for one in samples if one.done >= total * ENOUGH)
    return last.done - first.done, last.wall - first.wall, last.cpu - first.cpu


def second_half(samples: list[Sample]) -> dict[str, float]:
    """Give the rate and cost when warm: state filled, compilers done."""
    events, wall, cpu = part(samples, HALF)
    if not events:
        return {}
    return {
        "second_half_events_per_s": events / wall,
        "second_half_cpu_s_per_million": cpu / events * MILLION,
    }


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
