"""A small process between an owner and a child: the child never outlives the owner.

Run as a file, `python -I -S supervisor.py OWNER_PID LOG REMOVE CHILD...`, so that it
imports nothing of ours and costs a few milliseconds. Orders enter on stdin, one a line:
`start`, or the name of a signal for the child (`SIGTERM`). Reports leave on stdout:
`started PID`, `exited CODE`. When stdin ends, or the owner is no longer the parent (a
forked sibling may hold the pipe open), the child is ended, the folder REMOVE is removed
(none for an empty word; the child then gets time to end well), and this process ends.
A pipe and the parent's id are used because PR_SET_PDEATHSIG fires at the end of the
thread that forked; towards the child it is used too, since here is one thread only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import sys

_GRACE_SECONDS = 10.0
_OWNER_CHECK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Supervisor:
    """Holds one child process, or none."""

    def __init__(self, owner: int, log: str, command: list[str]) -> None:
        self._owner = owner
        self._log = log
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._exit_reported = True

    def run(self) -> None:
        """Obey orders until the owner is gone."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        pending = b""
        while os.getppid() == self._owner:
            ready = {key.fd for key, _ in selector.select(_OWNER_CHECK_SECONDS)}
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            self._report_exit()
            if 0 in ready:
                received = os.read(0, 4096)
                if not received:
                    return
                *orders, pending = (pending + received).split(b"\n")
                for order in orders:
                    self._obey(order.decode())

    def end(self, *, graceful: bool) -> None:
        """End the child and wait for it."""
        if self._child is None:
            return
        if graceful:
            self._child.send_signal(signal.SIGCONT)
            self._child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_GRACE_SECONDS)
        self._child.kill()
        self._child.wait()

    def _obey(self, order: str) -> None:
        if order == "start":
            self.end(graceful=False)
            self._report_exit()
            self._start()
        elif self._child is not None:
            self._child.send_signal(signal.Signals[order])

    def _start(self) -> None:
        with open(self._log, "ab") as log:  # noqa: PTH123 - pathlib doubles start-up
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Safe: this process has one thread.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        self._exit_reported = False
        self._report(f"started {self._child.pid}")

    def _report_exit(self) -> None:
        if self._child is None or self._exit_reported:
            return
        code = self._child.poll()
        if code is not None:
            self._exit_reported = True
            self._report(f"exited {code}")

    @staticmethod
    def _report(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the owner has just gone
            os.write(1, f"{line}\n".encode())


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Supervise until the owner is gone, then leave nothing behind."""
    owner, log, remove, *command = sys.argv[1:]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that `finally` runs
    supervisor = Supervisor(int(owner), log, command)
    try:
        supervisor.run()
    finally:
        supervisor.end(graceful=not remove)
        if remove:
            shutil.rmtree(remove, ignore_errors=True)


if __name__ == "__main__":
    main()
