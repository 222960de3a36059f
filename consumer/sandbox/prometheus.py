"""A real Prometheus from Debian's package: scrapes, evaluates the alerts, answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consumer.sandbox.answering import AnsweringProcess
from consumer.sandbox.debian import PROMETHEUS, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RULES: Final = Path(__file__).parents[2] / "dashboards" / "alerts" / "pos-consumer.yml"
"""The alerts of a source checkout; an installed package has none."""

_CONFIG: Final = """global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
  evaluation_interval: {interval}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: [{alertmanager}]}}]}}]}}
scrape_configs:
{jobs}
"""
_JOB: Final = """- job_name: {name}
  static_configs:
  - targets: [{targets}]
"""


class Prometheus(AnsweringProcess):
    """Runs while it is entered, on loopback, with its data in `folder`."""

    def __init__(
        self,
        folder: Path,
        jobs: Mapping[str, Sequence[str]],
        *,
        interval: str = "1s",
        rules: Path | None = RULES,
        alertmanager: str = "",
    ) -> None:
        """Scrape the addresses of each job every `interval`; SandboxError without it.

        Alerts go to the Alertmanager at an address, if one is given. The first one ever
        downloads the package.
        """
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("Prometheus", folder / "prometheus.log", ready="/-/ready")
        self._root = unpacked(PROMETHEUS)
        self._folder = folder
        listed = "".join(
            _JOB.format(name=name, targets=", ".join(map(json.dumps, addresses)))
            for name, addresses in jobs.items()
        )
        known = json.dumps(str(rules)) if rules is not None and rules.is_file() else ""
        self._config = folder / "prometheus.yml"
        self._config.write_text(
            _CONFIG.format(
                interval=interval,
                rules=known,
                jobs=listed,
                alertmanager=alertmanager.removeprefix("http://"),
            ),
            "utf-8",
        )

    def command(self) -> Sequence[str]:
        """Return what to run."""
        return [
            str(self._root / "usr/bin/prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Evaluate an expression now; SandboxError where it is refused."""
        found: list[dict[str, Any]]
        found = self.ask("/api/v1/query", query=expr)["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = self.ask("/api/v1/alerts")["data"]["alerts"]
        return found

    def fired(self) -> list[str]:
        """Return the names of all alerts that have fired since the start."""
        ever = self.query(
            'count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1d]))'
        )
        return sorted(one["metric"]["alertname"] for one in ever)
