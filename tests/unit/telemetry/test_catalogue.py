"""The catalogue, the code that sets it and the page about it are one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.telemetry.catalogue import CATALOGUE, GROUPS, Declared
from consumer.telemetry.histogram import BatchHistogram
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.reference import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "consumer"
DECLARING = {PACKAGE / "telemetry" / name for name in ("metrics.py", "catalogue.py")}


def test_the_page_is_up_to_date() -> None:
    """`python -m consumer.telemetry.reference docs/metrics.md` makes it anew."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert filled(page) == page
    assert all(f"`{one.full_name}`" in page for one in CATALOGUE.values())


def test_what_is_declared_is_made_and_what_is_made_is_declared() -> None:
    """Neither a metric without a declaration nor one that exists on paper only."""
    families = {
        family.name: (family.type, family.documentation)
        for family in Metrics().registry.collect()
        if not family.name.startswith("process_")
    }
    declared = {
        one.full_name.removesuffix("_total").removesuffix("_info"): one
        for one in CATALOGUE.values()
    }
    assert families.keys() == declared.keys()
    for name, one in declared.items():
        assert families[name] == (one.kind, one.about)


def test_no_name_is_declared_twice() -> None:
    """The groups share no name."""
    assert sum(map(len, GROUPS.values())) == len(CATALOGUE)


def _words(path: Path) -> Iterator[str]:
    """Give all attribute names and strings of a source file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_metric_is_set_by_the_code() -> None:
    """A metric that nobody sets would be a lie on every dashboard."""
    said: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path not in DECLARING and "sandbox" not in path.parts:
            said.update(_words(path))
    here = {"loop_heartbeat", "ready", "degraded", "build", "step_seconds"}
    metrics = Metrics()
    handles = {
        name
        for name, value in vars(metrics).items()
        if hasattr(value, "labels") or isinstance(value, BatchHistogram)
    }
    assert len(handles) >= len(CATALOGUE) - 1
    assert handles - here - said == set()


@pytest.mark.parametrize("one", CATALOGUE.values(), ids=lambda one: one.name)
def test_a_declaration_follows_the_conventions(one: Declared) -> None:
    """Help is a sentence, label sets are bounded, buckets rise."""
    assert one.about.endswith(".")
    assert one.about[0].isupper() or one.about[0].isdigit()
    assert "visitor" not in one.labels
    assert list(one.buckets) == sorted(set(one.buckets))
    for values in one.labels.values():
        assert isinstance(values, str) or len(values) <= 20
