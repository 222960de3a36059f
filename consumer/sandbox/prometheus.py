"""A real Prometheus from Debian's package: scrapes, evaluates the alerts, answers."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from consumer.errors import SandboxError
from consumer.sandbox.debian import PROMETHEUS, unpacked
from consumer.sandbox.ports import free_port
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

RULES: Final = Path(__file__).parents[2] / "dashboards" / "alerts" / "pos-consumer.yml"
"""The alerts of a source checkout; an installed package has none."""

_CONFIG: Final = """global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
  evaluation_interval: {interval}
rule_files: [{rules}]
scrape_configs:
{jobs}
"""
_JOB: Final = """- job_name: {name}
  static_configs:
  - targets: [{targets}]
"""
_READY_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 10.0


class Prometheus:
    """Runs while it is entered, on loopback, with its data in `folder`."""

    def __init__(
        self,
        folder: Path,
        jobs: Mapping[str, Sequence[str]],
        *,
        interval: str = "1s",
        rules: Path | None = RULES,
    ) -> None:
        """Scrape the addresses of each job every `interval`; SandboxError without it.

        The first one ever downloads the package.
        """
        root = unpacked(PROMETHEUS)
        folder.mkdir(parents=True, exist_ok=True)
        listed = "".join(
            _JOB.format(name=name, targets=", ".join(map(json.dumps, addresses)))
            for name, addresses in jobs.items()
        )
        known = json.dumps(str(rules)) if rules is not None and rules.is_file() else ""
        config = folder / "prometheus.yml"
        config.write_text(
            _CONFIG.format(interval=interval, rules=known, jobs=listed), "utf-8"
        )
        self.log = folder / "prometheus.log"
        self.address = f"http://127.0.0.1:{free_port()}"
        self._process = SupervisedProcess(
            [
                str(root / "usr/bin/prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.address.removeprefix('http://')}",
                "--log.level=warn",
            ],
            log=self.log,
        )

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self._process.start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or not self._process.running:
                self._process.close()
                raise SandboxError(f"Prometheus does not answer; see {self.log}.")
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

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Evaluate an expression now; SandboxError where it is refused."""
        found: list[dict[str, Any]] = self._ask("query", query=expr)["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def fired(self) -> list[str]:
        """Return the names of all alerts that have fired since the start."""
        ever = self.query(
            'count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1d]))'
        )
        return sorted(one["metric"]["alertname"] for one in ever)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - http on loopback, made above
                f"{self.address}/-/ready", timeout=_ANSWER_SECONDS
            ):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        asked = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(  # noqa: S310 - http on loopback, made above
                f"{self.address}/api/v1/{what}?{asked}", timeout=_ANSWER_SECONDS
            ) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as error:
            said = json.load(error).get("error", "")
            raise SandboxError(f"Prometheus refuses {parameters}: {said}") from error
