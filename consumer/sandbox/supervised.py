"""A child process that is gone when this process ends, however it ends.

The owner's side of `supervisor.py`: a command goes in, and a handle comes out that can
start the command, send it signals, wait for its end, and start it again.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from types import TracebackType

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_SUPERVISOR_ANSWERS_SECONDS = 10.0
_SUPERVISOR_ENDS_SECONDS = 20.0  # more than the grace that it gives to its child


class SupervisedProcess:
    """Runs `command` at most once at a time; its output is appended to `log`.

    `remove` is a folder that goes away with the owner. Not thread-safe: one thread
    gives the orders.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, remove: Path | None = None
    ) -> None:
        self.pid: int | None = None
        self._exit_code: int | None = None
        self._unread = b""
        self._supervisor = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(_SUPERVISOR)),
                *(str(os.getpid()), str(log), str(remove or "")),
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C in the owner's terminal is the owner's
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the command was started and has not ended."""
        self._take_reports(0.0)
        return self.pid is not None

    def start(self) -> None:
        """Start the command; one that still runs is killed first."""
        self._take_reports(0.0)
        self.pid = None
        self._order("start")
        deadline = time.monotonic() + _SUPERVISOR_ANSWERS_SECONDS
        while self.pid is None:
            self._take_reports(deadline - time.monotonic())
            if time.monotonic() > deadline:
                message = f"{_SUPERVISOR.name} did not start {self._supervisor.args!r}"
                raise TimeoutError(message)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command; nothing happens if it has ended."""
        if self.running:
            self._order(number.name)

    def wait(self, timeout: float) -> int | None:
        """Return its exit code as soon as it has ended, None after `timeout`."""
        deadline = time.monotonic() + timeout
        while self.running:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._take_reports(left)
        return self._exit_code

    def close(self) -> None:
        """End the command and its supervisor, and remove what was to be removed."""
        if self._supervisor.returncode is not None:
            return
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._supervisor.wait(_SUPERVISOR_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()  # the command dies with it, see `supervisor.py`
            self._supervisor.wait()
        self.pid = None

    def _order(self, order: str) -> None:
        if self._supervisor.stdin is None:
            raise BrokenPipeError
        self._supervisor.stdin.write(f"{order}\n".encode())

    def _take_reports(self, timeout: float) -> None:
        """Read what the supervisor reports, waiting up to `timeout` for it."""
        if self._supervisor.stdout is None or self._supervisor.stdout.closed:
            return
        descriptor = self._supervisor.stdout.fileno()
        poll = select.poll()  # select.select fails above descriptor 1,023
        poll.register(descriptor, select.POLLIN)
        while poll.poll(max(0.0, timeout) * 1000):
            received = os.read(descriptor, 4096)
            *lines, self._unread = (self._unread + received).split(b"\n")
            for line in lines:
                word, number = line.split()
                self.pid = int(number) if word == b"started" else None
                self._exit_code = int(number) if word == b"exited" else None
            if not received:  # the supervisor is gone, and so is the command
                self.pid = None
            return
