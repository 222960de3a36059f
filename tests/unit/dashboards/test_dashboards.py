"""Dashboards, alerts and runbook agree with the catalogue, each other and the rules.

The rules are those of Grafana's dashboard-linter, as far as they concern us:
https://github.com/grafana/dashboard-linter/blob/main/docs/index.md
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from consumer.telemetry.catalogue import CATALOGUE
from dashboards import thresholds
from dashboards.generate import PAGES, files
from dashboards.panels import Page, Panel, rate, series
from dashboards.rule_tests import CASES
from dashboards.rules import ALERTS, Alert

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
METRIC = re.compile(r"\bpos_consumer_\w+")
EXCLUDED = {
    entry["panel"]
    for entry in yaml.safe_load((ROOT / "dashboards" / ".lint").read_text("utf-8"))[
        "exclusions"
    ]["target-instance-rule"]["entries"]
}
"""Panels that the linter is told not to ask for an instance."""
KNOWN = {
    f"{one.full_name}{part}"
    for one in CATALOGUE.values()
    for part in (("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",))
}
PANELS = [
    pytest.param(panel, id=f"{page.uid.removeprefix('pos-consumer-')}: {panel.title}")
    for page in PAGES
    for row in page.rows
    for panel in row.panels
]
DRAWN = {
    page.uid: json.loads(files()[ROOT / "dashboards" / f"{page.uid}.json"])
    for page in PAGES
}


def drawn_panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard's JSON but for row headings."""
    return [panel for panel in page["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_the_files_are_up_to_date(path: Path) -> None:
    """`python -m dashboards` makes them anew."""
    assert path.read_text("utf-8") == files()[path]


def test_every_metric_is_looked_at() -> None:
    """A metric of the catalogue is in a panel or an alert; otherwise, why have it."""
    asked = {
        name
        for page in PAGES
        for row in page.rows
        for panel in row.panels
        for query in panel.queries
        for name in METRIC.findall(query.expr)
    }
    asked |= {name for alert in ALERTS for name in METRIC.findall(alert.expr)}
    unseen = {
        one.full_name
        for one in CATALOGUE.values()
        if not any(name.startswith(one.full_name) for name in asked)
    }
    assert unseen == set()


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_exists_and_says_what_to_do(panel: Panel) -> None:
    """Title, unit and a description in sentences; at most eight queries."""
    assert panel.title[0].isupper()
    assert panel.description.endswith(".")
    assert panel.unit
    assert 1 <= len(panel.queries) <= 8
    for query in panel.queries:
        names = set(METRIC.findall(query.expr))
        assert names <= KNOWN


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_selects_by_the_variables(panel: Panel) -> None:
    """Every selector names job and instance, every range is Grafana's own."""
    for query in panel.queries:
        selectors = re.findall(r"\b[A-Za-z_]+\{([^}]*)\}", query.expr)
        bare = re.findall(r"\b(?:pos_consumer|process)_\w+(?![\w{])", query.expr)
        assert selectors
        assert bare == []
        for selector in selectors:
            assert 'job=~"$job"' in selector
            chosen = 'instance=~"$instance"' in selector
            assert chosen is (panel.title not in EXCLUDED)
        assert set(re.findall(r"\[([^\]]+)\]", query.expr)) <= {"$__rate_interval"}


@pytest.mark.parametrize("panel", PANELS)
def test_counters_are_only_seen_through_a_rate(panel: Panel) -> None:
    """A counter's height means nothing; its rate or increase does."""
    for query in panel.queries:
        for found in re.finditer(r"\w+_(?:total|bucket|sum|count)\{", query.expr):
            before = query.expr[: found.start()]
            assert before.endswith(("rate(", "increase("))


@pytest.mark.parametrize("page", DRAWN.values(), ids=DRAWN)
def test_a_dashboard_keeps_the_linters_rules(page: dict[str, Any]) -> None:
    """Variables, data source, links: as the linter of Grafana wants them."""
    assert page["editable"] is False
    assert page["uid"].startswith("pos-consumer-")
    source, job, instance = page["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    assert (source["query"], source["label"]) == ("prometheus", "Data source")
    for variable, label in ((job, "Job"), (instance, "Instance")):
        assert variable["label"] == label
        assert variable["datasource"]["uid"] == "$datasource"
        assert variable["multi"] is variable["includeAll"] is True
        assert variable["allValue"] == ".+"
        assert variable["refresh"] == 2
    titles = [panel["title"] for panel in drawn_panels(page)]
    assert len(titles) == len(set(titles))
    for panel in drawn_panels(page):
        assert panel["datasource"]["uid"] == "$datasource"
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "$datasource"
            assert target["expr"]
    assert [one["name"] for one in page["annotations"]["list"]] == [
        "Deploys",
        "Alerts",
        "Restarts",
        "Rebalances",
    ]


QUERIES = [
    pytest.param(query.expr, query.legend, id=f"{page.uid[13:]}: {panel.title}: {n}")
    for page in PAGES
    for row in page.rows
    for panel in row.panels
    for n, query in enumerate(panel.queries)
    if METRIC.search(query.expr)
] + [pytest.param(alert.expr, "an alert", id=alert.name) for alert in ALERTS]


@pytest.mark.parametrize(("expr", "legend"), QUERIES)
def test_replicas_are_combined_as_the_catalogue_says(expr: str, legend: str) -> None:
    """What each counts is added up, what owners report is not counted twice.

    A figure of one process keeps its instance, or is counted.
    """
    for found in METRIC.finditer(expr):
        name = re.sub(r"_(?:bucket|sum|count)$", "", found[0])
        one = next(o for o in CATALOGUE.values() if o.full_name in {found[0], name})
        around = enclosing(expr, found.start())
        if one.across == "sum":
            assert around & {"sum", "avg"} or "{{instance}}" in legend
        elif one.across == "max":
            assert around & {"max", "min", "absent"}
        else:
            counted = around & {"count", "sum"} or "by (instance" in expr
            labelled = "{{instance}}" in legend or legend == "an alert"
            assert counted or labelled


def enclosing(expr: str, position: int) -> set[str]:
    """Return the functions and aggregations around a place in an expression."""
    names: list[str] = []
    for found in re.finditer(
        r"(\w*)(?: (?:by|without) \([^()]*\))? ?\(|\)", expr[:position]
    ):
        if found[0] == ")":
            names.pop()
        else:
            names.append(found[1])
    return set(names)


@pytest.mark.parametrize("page", DRAWN.values(), ids=DRAWN)
def test_a_dashboard_is_of_grafanas_own_schema(page: dict[str, Any]) -> None:
    """Read as Grafana's schema has it and written again, nothing is lost or changed.

    Grafana's models leave out what they do not know.
    """
    plugins.register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(deepcopy(page)), cls=JSONEncoder))
    assert again == page
    unknown = deepcopy(page)
    unknown["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    read = json.loads(json.dumps(Dashboard.from_json(unknown), cls=JSONEncoder))
    assert read != unknown


@pytest.mark.parametrize("page", DRAWN.values(), ids=DRAWN)
def test_the_panels_tile_the_screen(page: dict[str, Any]) -> None:
    """No two panels overlap, none is wider than the screen."""
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        taken |= cells


def test_links_lead_to_dashboards_that_exist() -> None:
    """A click on a panel goes one level deeper, with the same job and time."""
    for page in DRAWN.values():
        for panel in drawn_panels(page):
            for link in panel["fieldConfig"]["defaults"].get("links", []):
                assert link["url"].partition("?")[0].removeprefix("/d/") in DRAWN
                assert "${job:queryparam}" in link["url"]


def test_the_overview_is_one_screen() -> None:
    """Is it healthy? is answered without scrolling: 1080 pixels are 30 rows."""
    overview = DRAWN["pos-consumer-overview"]["panels"]
    assert max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in overview) <= 30


@pytest.mark.parametrize("objective", [thresholds.FRESHNESS, thresholds.DELIVERY])
def test_an_objective_is_a_bucket_of_its_histogram(
    objective: thresholds.Objective,
) -> None:
    """Otherwise its share could not be computed."""
    assert objective.seconds in CATALOGUE[objective.metric].buckets


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_asks_for_what_exists_and_has_its_section(alert: Alert) -> None:
    """Each says what it means, what to look at, what to do, and what not to do."""
    assert set(METRIC.findall(alert.expr)) <= KNOWN
    assert alert.summary.endswith(".")
    _, _, rest = RUNBOOK.partition(f"### {alert.section}\n")
    section = rest.partition("\n#")[0]
    for part in ("**Means.**", "**Look at.**", "**Do.**", "**Do not**"):
        assert part in section


def test_every_section_belongs_to_an_alert() -> None:
    """No runbook for an alert that is gone."""
    sections = set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE))
    assert sections == {alert.section for alert in ALERTS}


def test_every_alert_is_tested() -> None:
    """Promtool runs each once firing and once silent."""
    assert [case.alert for case in CASES] == [alert.name for alert in ALERTS]


def test_a_misspelt_metric_or_label_is_refused() -> None:
    """The generator fails, not the dashboard at night."""
    with pytest.raises(KeyError):
        series("no_such_metric")
    with pytest.raises(KeyError, match="has no label phase"):
        rate("records", phase="folded")


def test_pages_have_their_own_address() -> None:
    """Provisioning tells them apart by uid."""
    pages: list[Page] = list(PAGES)
    assert len({page.uid for page in pages}) == len(pages) == 4
