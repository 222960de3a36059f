"""Debian's promtool takes the alerts, and their tests can fail."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.sandbox.debian import PROMETHEUS, unpacked

ALERTS = Path(__file__).parents[2] / "dashboards" / "alerts"
RULES = ALERTS / "pos-consumer.yml"
TESTS = ALERTS / "tests" / "pos-consumer.yml"
# Its windows are of days, and each run evaluates every minute of them.
SLOW = "BurnSlow"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    tool = unpacked(PROMETHEUS) / "usr/bin/promtool"
    return subprocess.run(
        [str(tool), *arguments], capture_output=True, text=True, check=False
    )


def names() -> list[str]:
    """Return all alerts' names."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    return [rule["alert"] for rule in document["groups"][0]["rules"]]


def test_the_rules_are_well_formed() -> None:
    """Prometheus would load them."""
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


def test_each_alert_fires_and_stays_silent() -> None:
    """All cases of dashboards/rule_tests.py."""
    done = promtool("test", "rules", str(TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in names() if SLOW not in name])
@pytest.mark.parametrize("expr", ["vector(0) > 1", "the job, always"])
def test_a_broken_alert_does_not_pass(name: str, expr: str, tmp_path: Path) -> None:
    """One that never fires and one that always does are both found."""
    if expr == "the job, always":
        expr = 'label_replace(vector(1), "job", "pos-consumer", "", "")'
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text("utf-8"))
    (rule,) = [r for r in rules["groups"][0]["rules"] if r["alert"] == name]
    rule |= {"expr": expr, "for": "0m"}
    rules["groups"][0]["rules"] = [rule]
    tests: dict[str, Any] = yaml.safe_load(TESTS.read_text("utf-8"))
    tests["tests"] = [t for t in tests["tests"] if t["name"].split()[0] == name]
    tests["rule_files"] = ["rules.yml"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests), "utf-8")
    done = promtool("test", "rules", str(tmp_path / "tests.yml"))
    assert len(tests["tests"]) == 2
    assert done.returncode != 0
