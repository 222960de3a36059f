"""A supervised server: up when its address answers, asked for JSON."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

from consumer.errors import SandboxError
from consumer.sandbox.ports import free_port
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_READY_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 10.0


class AnsweringProcess:
    """Runs while it is entered, on loopback; `address` is where it answers."""

    def __init__(self, name: str, log: Path, *, ready: str) -> None:
        """Choose a port; `ready` is the path that answers 200 when it is up."""
        self.name = name
        self.log = log
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._ready_path = ready
        self._process: SupervisedProcess

    def command(self) -> Sequence[str]:
        """Return what to run."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self._process = SupervisedProcess(self.command(), log=self.log)
        self._process.start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or not self._process.running:
                self._process.close()
                raise SandboxError(f"{self.name} does not answer; see {self.log}.")
            time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.close()

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """Return an answer; SandboxError with the server's words if it refuses."""
        asked = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(  # noqa: S310 - http on loopback, made above
                f"{self.address}{path}?{asked}", timeout=_ANSWER_SECONDS
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise SandboxError(f"{self.name} refuses {parameters}: {said}") from error

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - http on loopback, made above
                f"{self.address}{self._ready_path}", timeout=_ANSWER_SECONDS
            ):
                return True
        except (urllib.error.URLError, OSError):
            return False
