"""Debian's promtool takes the alerts, and their tests can fail."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.sandbox.debian import ALERTMANAGER, PROMETHEUS, unpacked
from dashboards.rule_tests import JOB
from tests.observe.panels import expression

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
ALERTS = Path(__file__).parents[2] / "dashboards" / "alerts"
RULES = ALERTS / "pos-consumer.yml"
TESTS = sorted((ALERTS / "tests").glob("*.yml"))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return ran(unpacked(PROMETHEUS) / "usr/bin/promtool", *arguments)


def ran(tool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
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
    done = promtool("test", "rules", *map(str, TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("expr", "word"),
    [
        ("vector(0) > 1", "fires"),
        ('label_replace(vector(1), "job", "pos-consumer", "", "")', "stays silent"),
    ],
)
def test_a_broken_alert_does_not_pass(expr: str, word: str, tmp_path: Path) -> None:
    """One that never fires and one that always does are both found, by each case."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text("utf-8"))
    (group,) = rules["groups"]
    for rule in group["rules"]:
        rule |= {"expr": expr, "for": "0m"}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
    broken = []
    for path in TESTS:
        tests: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        kept = [test for test in tests["tests"] if test["name"].endswith(word)]
        tests |= {"tests": kept, "rule_files": ["rules.yml"]}
        broken.append(tmp_path / path.name)
        broken[-1].write_text(yaml.safe_dump(tests), "utf-8")
    done = promtool("test", "rules", *map(str, broken))
    failed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert failed == set(names())


def _both(name: str, labels: str, first: str, second: str) -> list[dict[str, str]]:
    """Make a series of each of two replicas."""
    return [
        {
            "series": f'pos_consumer_{name}{{job="{JOB}",instance="{at}",{labels}}}',
            "values": values,
        }
        for at, values in (("a", first), ("b", second))
        if values
    ]


TWO_REPLICAS = [
    # Each owns one partition, and the third is just moving: both report it.
    *_both("lag_records", 'stage="aggregate",partition="0"', "100x30", ""),
    *_both("lag_records", 'stage="aggregate",partition="1"', "", "50x30"),
    *_both("lag_records", 'stage="aggregate",partition="2"', "30x30", "20x30"),
    *_both("lag_seconds", 'stage="aggregate",partition="0"', "7x30", ""),
    *_both("lag_seconds", 'stage="aggregate",partition="2"', "3x30", "9x30"),
    *_both("partition_assigned", 'stage="aggregate",partition="0"', "1x30", ""),
    *_both("partition_assigned", 'stage="aggregate",partition="1"', "", "1x30"),
    *_both("partition_assigned", 'stage="aggregate",partition="2"', "1x30", "1x30"),
    *_both("partitions", 'stage="aggregate"', "3x30", "3x30"),
    *_both("records_total", 'outcome="folded"', "0+60x30", "0+120x30"),
    *_both("calls_total", 'kind="submit"', "0+8x30", "0+4x30"),
    *_both("budget_calls_per_minute", "", "40x30", "40x30"),
    *_both("pending_rows", "", "10x30", "20x30"),
    *_both("degraded", "", "1x30", "0x30"),
    # The one replica confirms all within a minute, the other within five.
    *_both("event_to_confirmed_seconds_bucket", 'le="60"', "0+100x30", "0x30"),
    *_both("event_to_confirmed_seconds_bucket", 'le="300"', "0+100x30", "0+100x30"),
    *_both("event_to_confirmed_seconds_bucket", 'le="+Inf"', "0+100x30", "0+100x30"),
    *_both("step_seconds_total", 'loop="aggregate",step="idle"', "0+30x30", "0+60x30"),
]
COMBINED = [
    ("overview", "Lag in records", 0, '{stage="aggregate"}', 180),
    ("overview", "Behind in Kafka", 0, "{}", 9),
    ("aggregate", "Owned and halted", 0, '{stage="aggregate"}', 3),
    ("aggregate", "Owned and halted", 1, '{stage="aggregate"}', 3),
    ("overview", "Purchases by what became of them", 0, '{outcome="folded"}', 3),
    ("overview", "Call budget used", 0, "{}", 0.3),
    ("upload", "Under way", 1, "{}", 30),
    ("process", "Up, ready, degraded", 1, "{}", 1),
    ("upload", "From event to Target", 2, "{}", 60),
    ("aggregate", "Seconds a second by step", 0, '{step="idle"}', 0.75),
]


def test_the_panels_combine_replicas_rightly(tmp_path: Path) -> None:
    """What sums and what maxes, in figures: a partition that moves counts once."""
    tests = [
        {
            "interval": "1m",
            "input_series": TWO_REPLICAS,
            "promql_expr_test": [
                {
                    "expr": expression(page, title, query, interval="5m"),
                    "eval_time": "20m",
                    "exp_samples": [{"labels": labels, "value": value}],
                }
                for page, title, query, labels, value in COMBINED
            ],
        }
    ]
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump({"tests": tests}), "utf-8")
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stacks_configurations_are_taken(tmp_path: Path) -> None:
    """Prometheus and Alertmanager would start with those of docker-compose.yml."""
    (tmp_path / RULES.name).write_text(RULES.read_text("utf-8"), "utf-8")
    config = tmp_path / "prometheus.yml"
    config.write_text((COMPOSE / "prometheus.yml").read_text("utf-8"), "utf-8")
    done = promtool("check", "config", str(config))
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout
    amtool = unpacked(ALERTMANAGER) / "usr/bin/amtool"
    taken = ran(amtool, "check-config", str(COMPOSE / "alertmanager.yml"))
    assert taken.returncode == 0, taken.stderr
