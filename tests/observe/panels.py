"""The panels' expressions, as Grafana would ask them."""

from __future__ import annotations

from dashboards.generate import PAGES


def filled_in(expr: str, interval: str = "15s") -> str:
    """Put in what Grafana would put in."""
    return (
        expr.replace("$__rate_interval", interval)
        .replace("$job", "pos-consumer")
        .replace("$instance", ".+")
    )


def expression(page: str, title: str, query: int = 0, interval: str = "15s") -> str:
    """Return a panel's expression."""
    (found,) = (
        one.queries[query].expr
        for known in PAGES
        if known.uid == f"pos-consumer-{page}"
        for row in known.rows
        for one in row.panels
        if one.title == title
    )
    return filled_in(found, interval)
