"""The first hour of docs/operations.md, run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.sandbox.ports import free_port

if TYPE_CHECKING:
    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## The first hour")[2].partition("\n## ")[0]
COMMANDS = [
    line.partition("#")[0].split()
    for block in re.findall(r"```\n(.*?)```", SECTION, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
PATIENCE = 60.0
EVENTS = "3000"


class Hour:
    """An empty folder, and the addresses that the page's stand for."""

    def __init__(self, folder: Path, bootstrap: str, topic: str) -> None:
        self.folder = folder
        self.target, self.http = free_port(), free_port()
        self.topic = topic
        self._addresses = {
            "localhost:9092": bootstrap,
            "http://127.0.0.1:8080": f"http://127.0.0.1:{self.target}",
        }
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("POS_")},
            "POS_CONSUMER__HTTP__PORT": str(self.http),
            "POS_CONSUMER__TARGET__BATCH__MAX_AGE": "1s",
            "COLUMNS": "160",
        }
        self._bootstrap = bootstrap

    def here(self, word: str) -> str:
        """Put this run's names in place of the page's."""
        for there, ours in self._addresses.items():
            word = word.replace(there, ours)
        return self.topic if word == "purchases" else word

    def command(self, words: list[str]) -> list[str]:
        """Give the command line of one of the page's commands."""
        assert words[0] == "pos-consumer"
        arguments = [*words[1:3], *map(self.here, words[3:])]
        if words[1:3] == ["sandbox", "target"]:
            arguments += ["--port", str(self.target)]
        if words[1:3] == ["sandbox", "purchases"]:
            arguments += ["--topic", self.topic, "--events", EVENTS]
            arguments += ["--partitions", "2", "--visitors", "200"]
        if words[1] in {"init", "sandbox"} and words[2] != "target":
            arguments += ["--bootstrap-servers", self._bootstrap]
        return [sys.executable, "-m", "consumer", *arguments]

    def run(self, words: list[str]) -> str:
        """Run a command to its end, which must be a good one."""
        done = subprocess.run(
            self.command(words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
        return done.stdout

    def start(self, words: list[str]) -> subprocess.Popen[bytes]:
        """Start a command that stays."""
        return subprocess.Popen(
            self.command(words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def metrics(self) -> str:
        """Give what the service exposes; empty while it does not answer."""
        address = f"http://127.0.0.1:{self.http}/metrics"
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                text: bytes = answer.read()
        except (urllib.error.URLError, OSError):
            return ""
        return text.decode()


def total(metrics: str, pattern: str) -> float:
    """Add up the samples whose name and labels a pattern finds."""
    found = re.findall(rf"^{pattern}[^ \n]* (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


@pytest.fixture(name="hour")
def _hour(kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path) -> Hour:
    topic = topic_factory("hour", partitions=2, config={"retention.ms": "-1"})
    return Hour(tmp_path, kafka.bootstrap, topic)


@pytest.mark.timeout(240)
def test_the_first_hour_goes_as_it_is_written(hour: Hour) -> None:
    """Every command succeeds in its turn, and profiles arrive at Target."""
    words = {" ".join(one[1:3]) for one in COMMANDS}
    for needed in (
        "init --topic",
        "check",
        "topics create",
        "doctor",
        "preview",
        "run",
    ):
        assert needed in words
    stays: list[subprocess.Popen[bytes]] = []
    said: dict[str, str] = {}
    try:
        for one in COMMANDS:
            if one[0] == "export":
                name, _, value = one[1].partition("=")
                hour.environment[name] = hour.here(value)
            elif one[1:] in (["sandbox", "kafka"], ["sandbox", "registry"]):
                continue  # the shared broker plays; no registry is wanted here
            elif one[1:] == ["sandbox", "target"] or one[1:] == ["run"]:
                stays.append(hour.start(one))
            else:
                said[" ".join(one[1:])] = hour.run(one)
        assert "The configuration is right" in said["check"]
        assert "records: " in said["preview"]
        deadline = time.monotonic() + PATIENCE
        accepted = r'pos_consumer_upload_rows_total\{outcome="accepted"'
        while total(found := hour.metrics(), accepted) < 1:
            assert stays[-1].poll() is None
            assert time.monotonic() < deadline, found[:300]
            time.sleep(0.2)
        assert total(found, "pos_consumer_records_total") > 0
        stays[-1].send_signal(signal.SIGTERM)
        assert stays[-1].wait(PATIENCE) == 0
    finally:
        for process in stays:
            process.kill()
            process.wait(10)
