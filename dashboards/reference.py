"""The tables of docs/observe.md: every alert, and what may have no data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.telemetry.catalogue import CATALOGUE
from dashboards.rules import ABSENT, ALERTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboards.panels import Page


def filled(text: str, pages: Iterable[Page]) -> str:
    """Return the page with its tables made anew, between their marks."""
    tables = {"alerts": alerts(), "empty": empty(pages), "absent": absent()}
    for mark, table in tables.items():
        before, opening, rest = text.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        text = f"{before}{opening}\n{table}\n{closing}{after}"
    return text


def alerts() -> str:
    """Return the table of all alerts."""
    rows = [
        f"| [{one.name}](runbook.md{one.anchor}) | {one.severity} | {one.wait} |"
        for one in ALERTS
    ]
    return "\n".join(["| alert | severity | after |", "|---|---|---|", *rows, ""])


def absent() -> str:
    """Return the table of what alerts ask for that may not be there."""
    rows = [
        f"| `{CATALOGUE[name].full_name}` | {why} |" for name, why in ABSENT.items()
    ]
    return "\n".join(["| metric | when |", "|---|---|", *rows, ""])


def empty(pages: Iterable[Page]) -> str:
    """Return the table of the panels that may have nothing to show."""
    rows = [
        f"| {page.title.partition(': ')[2]} | {panel.title} | {panel.empty} |"
        for page in pages
        for row in page.rows
        for panel in row.panels
        if panel.empty
    ]
    return "\n".join(["| dashboard | panel | when |", "|---|---|---|", *rows, ""])
