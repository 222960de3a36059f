"""The service as its users start it: a process of its own, with a configuration file.

The demo and the fault tests drive it from outside, through the command line, signals
and `/metrics` alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final, Self

from consumer.errors import SandboxError
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from consumer.sandbox.demo.work import Work

_COMMAND: Final = (sys.executable, "-m", "consumer")
_SAMPLE: Final = re.compile(r"^(\w+?)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ANSWER_SECONDS: Final = 5.0
_LOG_LINES: Final = 12

Sample = tuple[str, dict[str, str], float]


class ServiceProcess:
    """`pos-consumer run` on one configuration file; ends with its owner."""

    def __init__(self, work: Work, *arguments: str, module: str = "consumer") -> None:
        """Run it on the configuration in `work`, with further arguments of `run`.

        `module` is what a test may run in its place, with the same command line.
        """
        self._log = work.log
        self._port = work.port
        command = [sys.executable, "-m", module, "--config", str(work.config), "run"]
        self._process = SupervisedProcess([*command, *arguments], log=work.log)

    def __enter__(self) -> Self:
        """Start it."""
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, at once if it still runs."""
        self._process.close()

    @property
    def pid(self) -> int:
        """Its process id; `SandboxError` if it does not run."""
        self.require_running()
        pid = self._process.pid
        if pid is None:
            raise SandboxError("The service has just ended.")
        return pid

    def start(self) -> None:
        """Start it again after it ended."""
        self._process.start()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(SIGKILL)
        self._process.wait(10.0)

    def drain(self, timeout: float) -> int | None:
        """Ask it to stop; its exit code, None if it did not end in time."""
        self.ask_to_stop()
        return self.wait(timeout)

    def ask_to_stop(self) -> None:
        """Tell it to drain."""
        self._process.send_signal(SIGTERM)

    def wait(self, timeout: float) -> int | None:
        """Return its exit code as soon as it has ended, None after `timeout`."""
        return self._process.wait(timeout)

    def require_running(self) -> None:
        """Raise `SandboxError` with the end of its log if it has ended."""
        if self._process.running:
            return
        lines = self._log.read_text(encoding="utf-8").splitlines()
        raise SandboxError(
            f"The service has ended. The last it said ({self._log}):\n"
            + "\n".join(lines[-_LOG_LINES:])
        )

    def metrics(self) -> Metrics:
        """Scrape `/metrics`; nothing is known while it does not answer."""
        return read_metrics(self._port)


class Metrics:
    """One scrape, to be asked for sums."""

    def __init__(self, text: str) -> None:
        """Parse Prometheus' text format."""
        self._samples = list(_samples(text))

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of a metric that carry the labels; 0 without any."""
        return sum(
            value
            for found, has, value in self._samples
            if found == name and labels.items() <= has.items()
        )

    def by(self, name: str, label: str, **labels: str) -> dict[str, int]:
        """Give a counter's values by one label, without the zeros.

        Only samples that have all of `labels` count.
        """
        found: dict[str, int] = {}
        for sample, has, value in self._samples:
            fits = sample == name and label in has and labels.items() <= has.items()
            if fits and value:
                found[has[label]] = found.get(has[label], 0) + int(value)
        return found


def read_metrics(port: int) -> Metrics:
    """Scrape the service at a port; nothing is known while it does not answer."""
    return Metrics(scrape(port))


def scrape(port: int) -> str:
    """Return what the service at a port tells, nothing while it does not answer."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/metrics", timeout=_ANSWER_SECONDS
        ) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return ""


def run_command(config: Path, *arguments: str) -> None:
    """Run one command to its end; `SandboxError` with its words if it fails."""
    done = subprocess.run(
        [*_COMMAND, "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(arguments)
        raise SandboxError(f"pos-consumer {words} failed: {done.stderr.strip()}")


def _samples(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        if line.startswith("#") or not (found := _SAMPLE.match(line)):
            continue
        name, labels, value = found.groups()
        yield name, dict(_LABEL.findall(labels or "")), float(value)
