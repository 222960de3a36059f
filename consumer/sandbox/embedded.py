"""A Java server in a process of its own: what the broker and the registry share.

It is a context manager; entering it returns when the server answers, and leaving it, or
the end of this process for whatever reason, ends it and removes its folder.
"""

from __future__ import annotations

import signal
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from consumer.errors import AddressInUse, SandboxError
from consumer.sandbox.ports import HOST, is_free

if TYPE_CHECKING:
    from types import TracebackType

    from consumer.sandbox.supervised import SupervisedProcess

_POLL_SECONDS: Final = 0.02


class Embedded(ABC):
    """One server on 127.0.0.1.

    Raises, on entry: SandboxError with the end of its log; AddressInUse where the port
    that was asked for is taken.
    """

    name: ClassVar[str]
    log_name: ClassVar[str]

    def __init__(self, port: int | None) -> None:
        """Listen on `port`, None for a free one."""
        self.port = port or 0
        self._wanted = port
        self._folder = Path()
        self._cleanup = ExitStack()
        self._process: SupervisedProcess | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            if self._wanted is not None and not is_free(self._wanted):
                raise AddressInUse(
                    f"Port {self._wanted} of {HOST} is taken.",
                    "Choose another --port, or end who listens there.",
                )
            self._open()
            on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    @property
    def folder(self) -> Path:
        """Where it keeps its data, its settings and its log."""
        return self._folder

    @property
    def log_path(self) -> Path:
        """The file with its own log."""
        return self._folder / self.log_name

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        if not self.log_path.exists():
            return ""
        text = self.log_path.read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def require_running(self) -> None:
        """Raise SandboxError, with the end of its log, if it has ended."""
        if self._process is None or not self._process.running:
            raise self._failure(f"{self.name} has ended")

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT) after a pause."""
        self._running.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self._cleanup.close()

    @abstractmethod
    def _open(self) -> None:
        """Start its process and wait until it is ready."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether this very server answers."""

    @property
    def _running(self) -> SupervisedProcess:
        if self._process is None:
            raise SandboxError(f"{self.name} is not open.", "Enter it first.")
        return self._process

    def _temporary_folder(self, kind: str) -> Path:
        """Make a folder that goes with the server."""
        folder = tempfile.TemporaryDirectory(
            prefix=f"pos-consumer-{kind}-", ignore_cleanup_errors=True
        )
        return Path(self._cleanup.enter_context(folder))

    def _wait_until_ready(self, seconds: float, *, may_retry: bool = False) -> bool:
        """Return True when it answers; False to try other ports, if it may be."""
        written = self.log_path.stat().st_size if self.log_path.exists() else 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._running.wait(_POLL_SECONDS)
            if not self._running.running:
                log = self.log_path.read_bytes()[written:].decode("utf-8", "replace")
                if may_retry and "Address already in use" in log:
                    return False
                raise self._failure(f"{self.name} ended while it started")
            if self._answers():
                return True
        raise self._failure(f"{self.name} did not answer within {seconds:g} s")

    def _failure(self, what: str) -> SandboxError:
        return SandboxError(f"{what}. The end of its log:\n{self.log_tail()}")
