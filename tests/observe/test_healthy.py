"""A real Prometheus watches a healthy service: panels have data, no alert fires."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

from consumer.sandbox.target.options import TargetOptions
from consumer.telemetry.catalogue import CATALOGUE
from dashboards.generate import PAGES
from dashboards.rules import ABSENT, ALERTS
from tests.observe.panels import expression, filled_in
from tests.observe.site import PARTITIONS, site

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from consumer.sandbox.prometheus import Prometheus
    from tests.observe.site import Site

RATE: Final = 2_000.0
LOOPS: Final = {"aggregate", "intake", "sealing", "confirmation"}
DAY: Final = 86_400
SELECTOR: Final = re.compile(r"\b(?:pos_consumer|process)_\w+(?:{[^}]*})?|\bup{[^}]*}")


def jwt(days: float) -> str:
    """Make a token that says when it ends, as some do."""
    claims = json.dumps({"exp": int(time.time() + days * DAY)}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.sig"


def empty_panels(prometheus: Prometheus) -> set[str]:
    """Return the panels with a query that gives nothing."""
    return {
        f"{page.title.partition(': ')[2]}: {panel.title}"
        for page in PAGES
        for row in page.rows
        for panel in row.panels
        for query in panel.queries
        if not prometheus.query(filled_in(query.expr))
    }


def missing_series(prometheus: Prometheus) -> set[str]:
    """Return what alerts ask for and Prometheus has nothing of."""
    asked = {one for alert in ALERTS for one in SELECTOR.findall(alert.expr)}
    assert len(asked) > len(ALERTS)
    return {one for one in asked if not prometheus.query(one)}


def value(prometheus: Prometheus, expr: str) -> float:
    """Return the one value of an expression."""
    (one,) = prometheus.query(expr)
    return float(one["value"][1])


async def test_a_healthy_service_fills_every_panel_and_fires_no_alert(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Two replicas under load, `--healthy-minutes` long, one by default.

    Each query of each panel returns data, or its panel says why not, and so does each
    series that an alert asks for. No alert is as much as pending at the end, and none
    has fired.
    """
    minutes = float(pytestconfig.getoption("--healthy-minutes"))
    token = tmp_path / "token"
    token.write_text(jwt(days=60), "utf-8")
    values = {
        "client": f'client = "acme"\ntoken = {{ file = "{token}" }}',
        "level": 'level = "debug"',
        "max_age": 'max_age = "10s"',  # so that calls suffice
    }
    options = TargetOptions(processing_time=2.0)
    async with site(
        tmp_path, options=options, replicas=2, rate=RATE, values=values
    ) as running:
        await asyncio.sleep(60 * minutes)
        prometheus = running.prometheus
        empty = empty_panels(prometheus)
        for alert in ALERTS:  # refused ones raise
            prometheus.query(alert.expr)
        missing = missing_series(prometheus)
        fired, pending = prometheus.fired(), prometheus.alerts()
        by_loop = prometheus.query(
            "sum by (loop, instance) (rate(pos_consumer_step_seconds_total[30s]))"
        )
        check_sums(running)
        visitors = {visitor for visitor, _ in running.target.profiles()}
    excused = {
        f"{page.title.partition(': ')[2]}: {panel.title}"
        for page in PAGES
        for row in page.rows
        for panel in row.panels
        if panel.empty
    }
    assert empty <= excused
    absent = {CATALOGUE[name].full_name for name in ABSENT}
    assert fired == []
    assert {selector.partition("{")[0] for selector in missing} <= absent
    assert [one["labels"]["alertname"] for one in pending] == []
    check_steps(by_loop)
    for work in running.works:
        check_log(work.log.read_text("utf-8"), visitors, token.read_text("utf-8"))


def check_sums(running: Site) -> None:
    """What the panels show of all replicas is what the parts count."""
    prometheus = running.prometheus
    owned = expression("aggregate", "Owned and halted")
    for found in prometheus.query(owned):
        assert float(found["value"][1]) == PARTITIONS
    for instance in prometheus.query(
        'sum by (instance) (pos_consumer_partition_assigned{stage="aggregate"})'
    ):
        assert 0 < float(instance["value"][1]) < PARTITIONS, "both take their share"
    minute = value(prometheus, "sum(increase(pos_consumer_calls_total[60s]))")
    journal = running.target.journal
    last = max(call.at for call in journal.calls)
    called = sum(call.at > last - 60 for call in journal.calls if call.metered)
    assert abs(minute - called) <= 0.25 * called + 2
    rows = value(prometheus, "sum(pos_consumer_confirmed_rows_total)")
    latency = "sum(pos_consumer_event_to_confirmed_seconds_count)"
    assert value(prometheus, latency) == rows > 0


def check_steps(by_loop: list[dict[str, Any]]) -> None:
    """The steps of each replica's loops add up to wall time."""
    seen = set()
    for one in by_loop:
        loop = one["metric"]["loop"]
        if loop in LOOPS:
            seen.add((loop, one["metric"]["instance"]))
            # Scrapes of a busy machine are not quite a second apart.
            assert 0.8 < float(one["value"][1]) < 1.2, loop
    assert len(seen) == 2 * len(LOOPS)


def check_log(text: str, visitors: set[str], token: str) -> None:
    """Whole lines of JSON, a line a batch, a line a minute, no visitor and no token."""
    lines = [json.loads(line) for line in text.splitlines()]
    said = [line["event"] for line in lines]
    assert said.count("batch committed") > 10
    assert said.count("The last minute.") >= 1
    assert {line["level"] for line in lines} <= {"debug", "info", "warning"}
    words = set(re.findall(r"[\w.-]+", text))
    assert len(visitors) > 1_000
    assert not words & visitors
    assert token not in text
