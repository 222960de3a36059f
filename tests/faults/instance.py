"""One instance of the service under test: a process, its folder and its past."""

from __future__ import annotations

import re
import sys
import time
from math import inf
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, Final

from consumer.sandbox.demo.service_process import read_metrics
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from consumer.sandbox.demo.service_process import Metrics
    from consumer.sandbox.demo.work import Work

LAUNCHER: Final = Path(__file__).with_name("launch.py")
DEAD_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.05
_HIGHEST: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_LOG_LINES: Final = 15


class Instance:
    """Starts, faults and ends the service on one configuration."""

    def __init__(
        self, number: int, work: Work, *, mutant: str = "", clock_ahead: float = 0.0
    ) -> None:
        """Run nothing yet.

        `mutant` names what is broken in it on purpose, if anything is; its clock is
        ahead by so many seconds.
        """
        self.number = number
        self.work = work
        self.highest_kb = 0
        self._mutant = mutant
        self._clock = work.folder / "clock-ahead"
        self.set_clock(clock_ahead)
        self._process: SupervisedProcess | None = None

    def set_clock(self, ahead: float) -> None:
        """Let its clock be ahead by so many seconds, at once also where it runs."""
        self._clock_ahead = ahead
        partial = self._clock.with_suffix(".new")
        partial.write_text(str(ahead), encoding="ascii")
        partial.replace(self._clock)

    def start(self, *, failpoint: str = "") -> None:
        """Start it, with orders for its failpoints.

        A clock that is right at the start stays right.
        """
        self.close()
        variables = [f"POS_CONSUMER_FAILPOINT={failpoint}"] if failpoint else []
        how = ["-m", "consumer"]
        if self._mutant or self._clock_ahead:
            how = [str(LAUNCHER), self._mutant, str(self._clock)]
        self._process = SupervisedProcess(
            [
                *("env", *variables, sys.executable, *how),
                *("--config", str(self.work.config), "run"),
            ],
            log=self.work.log,
        )
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended; a frozen one runs."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def frozen(self) -> bool:
        """Whether it is stopped by a signal."""
        if not self.running:
            return False
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        except OSError:  # it has just ended
            return False
        return text.rpartition(")")[2].split()[0] == "T"

    def look(self) -> None:
        """Note how much memory it has used."""
        if not self.running:
            return
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        except OSError:  # it has just ended
            return
        if found := _HIGHEST.search(text):
            self.highest_kb = max(self.highest_kb, int(found[1]))

    def metrics(self) -> Metrics:
        """Scrape it; nothing is known while it does not answer."""
        return read_metrics(self.work.port)

    def partitions(self, stage: str) -> set[int]:
        """Give the partitions that it has in a stage."""
        name = "pos_consumer_partition_assigned"
        return {int(n) for n in self.metrics().by(name, "partition", stage=stage)}

    def lag(self) -> float:
        """Count the purchases it has still to fold; all, while it is not ready."""
        scrape = self.metrics()
        if scrape.total("pos_consumer_ready") != 1:
            return inf
        return scrape.total("pos_consumer_lag_records", stage="aggregate")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.look()
        assert self._process is not None
        self._process.send_signal(SIGKILL)
        self._process.wait(DEAD_SECONDS)

    def freeze(self) -> None:
        """Stop it where it is."""
        assert self._process is not None
        self._process.send_signal(SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop in order."""
        self.look()
        assert self._process is not None
        self._process.send_signal(SIGTERM)

    def drain(self, timeout: float) -> int | None:
        """Let it stop in order; its exit code, None if it took too long."""
        self.terminate()
        return self.wait(timeout)

    def wait(self, timeout: float = DEAD_SECONDS) -> int | None:
        """Wait for its end; its exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def wait_frozen(self, timeout: float = DEAD_SECONDS) -> bool:
        """Wait until a failpoint has stopped it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.frozen:
                return True
            if not self.running:
                return False
            time.sleep(LOOK_SECONDS)
        return False

    def close(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.send_signal(SIGKILL)
            self._process.close()
            self._process = None

    def last_words(self) -> str:
        """Return the end of its log."""
        if not self.work.log.exists():
            return "It has said nothing."
        lines = self.work.log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line for line in lines if '"level": "info"' not in line]
        return "\n".join([*telling[-_LOG_LINES:], lines[-1] if lines else ""])
