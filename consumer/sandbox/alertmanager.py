"""A real Alertmanager from Debian's package, with the routes of docker-compose.yml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consumer.sandbox.answering import AnsweringProcess
from consumer.sandbox.debian import ALERTMANAGER, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUTES: Final = Path(__file__).parents[2] / "deploy" / "compose" / "alertmanager.yml"
"""Those of a source checkout; an installed package has none, and nothing is routed."""

_NO_ROUTES: Final = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
_HOME: Final = "usr/share/prometheus/alertmanager"
# Debian's program has its folder built in. Its copy looks where it was started.
_BUILT_IN: Final = f"/{_HOME}".encode()
_HERE: Final = b"/proc/self/cwd".ljust(len(_BUILT_IN), b"/")


class Alertmanager(AnsweringProcess):
    """Runs while it is entered, on loopback, with its data in `folder`."""

    def __init__(self, folder: Path, *, routes: Path = ROUTES) -> None:
        """Route as a file says; SandboxError without Debian's package.

        The first one ever downloads it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("Alertmanager", folder / "alertmanager.log", ready="/-/ready")
        root = unpacked(ALERTMANAGER)
        self._home = root / _HOME
        self._data = folder / "data"
        self._routes = folder / "alertmanager.yml"
        known = routes.read_text("utf-8") if routes.is_file() else _NO_ROUTES
        self._routes.write_text(known, "utf-8")
        self._program = folder / "alertmanager"
        original = (root / "usr/bin/prometheus-alertmanager").read_bytes()
        self._program.write_bytes(original.replace(_BUILT_IN, _HERE))
        self._program.chmod(0o755)

    def command(self) -> Sequence[str]:
        """Return what to run."""
        return [
            *("env", f"--chdir={self._home}", str(self._program.absolute())),
            f"--config.file={self._routes.absolute()}",
            f"--storage.path={self._data.absolute()}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",  # it is alone
            "--log.level=warn",
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it was told of and that go on."""
        found: list[dict[str, Any]] = self.ask("/api/v2/alerts")
        return found
