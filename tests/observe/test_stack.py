"""The native twin of docker-compose.yml: the same parts, and alerts find their way."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from consumer.sandbox.alertmanager import Alertmanager
from consumer.sandbox.ports import free_port
from consumer.sandbox.prometheus import RULES, Prometheus

if TYPE_CHECKING:
    from collections.abc import Callable

STACK: Final = Path(__file__).parents[2] / "docker-compose.yml"
NOT_SERVERS: Final = {"purchases", "topics"}  # done by the demo itself
NOT_TO_BE_HAD: Final = {"grafana"}
PATIENCE: Final = 30.0


async def until(done: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(done):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def test_the_demo_runs_what_docker_compose_runs(tmp_path: Path) -> None:
    """All servers but Grafana answer, everything is reckoned up, no alert fires."""
    command = (sys.executable, "-m", "consumer", "demo", "--observe")
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--events", "40000", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    services = set(yaml.safe_load(STACK.read_text("utf-8"))["services"])
    told = dict(re.findall(r"^  ([\w-]+) +(\S+)$", done.stdout, re.MULTILINE))
    assert told.keys() == services - NOT_SERVERS - NOT_TO_BE_HAD
    assert "alerts fired: none; at Alertmanager: 0." in done.stdout
    config = (tmp_path / "pos-consumer.toml").read_text("utf-8")
    assert f'schema_registry = "{told["registry"]}"' in config


def posted(address: str, *alerts: dict[str, str]) -> None:
    """Tell Alertmanager of alerts, as Prometheus does."""
    body = json.dumps([{"labels": alert} for alert in alerts]).encode()
    request = urllib.request.Request(  # noqa: S310 - http on loopback
        f"{address}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - likewise
        assert answer.status == 200


def states(alertmanager: Alertmanager) -> dict[str, str]:
    """Return what Alertmanager does with each alert."""
    found: list[dict[str, Any]] = alertmanager.alerts()
    return {one["labels"]["alertname"]: one["status"]["state"] for one in found}


async def test_an_alert_reaches_alertmanager(tmp_path: Path) -> None:
    """Prometheus tells it of a replica that is down."""
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(rules), "utf-8")
    nobody = {"pos-consumer": [f"127.0.0.1:{free_port()}"]}
    with (
        Alertmanager(tmp_path / "alertmanager") as alertmanager,
        Prometheus(
            tmp_path / "prometheus",
            nobody,
            rules=path,
            alertmanager=alertmanager.address,
        ),
    ):
        await until(lambda: "PosConsumerDown" in states(alertmanager))


async def test_what_follows_from_another_alert_is_held_back(tmp_path: Path) -> None:
    """The routes of docker-compose.yml tell a person of the cause, not of its echo."""
    job = {"job": "pos-consumer", "instance": "a"}
    causes = {
        "PosConsumerDown": "PosConsumerNotReady",
        "PosConsumerAuthRefused": "PosConsumerDegraded",
        "PosConsumerFreshnessBurnFast": "PosConsumerFreshnessBurnSlow",
    }
    with Alertmanager(tmp_path) as alertmanager:
        for cause, echo in causes.items():
            posted(
                alertmanager.address,
                {"alertname": cause, "severity": "page", **job},
                {"alertname": echo, "severity": "ticket", **job},
            )
        expected = dict.fromkeys(causes, "active")
        expected |= dict.fromkeys(causes.values(), "suppressed")
        await until(lambda: states(alertmanager) == expected)
