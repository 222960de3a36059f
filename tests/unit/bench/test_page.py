"""The figures in the page of the bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli import PAGE
from bench.page import BEGIN, END, keep

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {
        "name": name,
        "events": 1_900,
        "events_per_s": 1_234.5,
        "cpu_s_per_million": cpu,
        "peak_rss_mb": 99.6,
        "checked": checked,
        **more,
    }
    for name, cpu, checked, more in [
        ("floor", 2.0, None, {}),
        ("service", 9.0, True, {}),
        (
            "latency-1s",
            30.0,
            None,
            {
                "readable_p50_ms": 500.0,
                "readable_p99_ms": 990.0,
                "accepted_p50_ms": 1_500.0,
                "accepted_p99_ms": 2_600.0,
            },
        ),
    ]
]


def test_a_run_replaces_the_figures_and_nothing_else(tmp_path: Path) -> None:
    """What stands around the figures stays, however often they are written."""
    page = tmp_path / "bench.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n", "utf-8")
    for _ in range(2):
        keep(page, "On a machine.", [*ROWS, {"name": "quix", "skipped": "why"}])
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{BEGIN}On a machine.\n\n| |")
    assert text.endswith(f"{END}after\n")
    assert "old" not in text
    assert "| `service` | 1,900 | 1,234 | 9.00 | 4.5 | 100 | as recounted |\n" in text
    assert "| `quix` | skipped |" in text
    assert "`latency-1s`: readable after 500 ms (p50) and 990 ms (p99)" in text


def test_the_page_has_the_marks_once_each() -> None:
    """A run finds where to write in the page that is in the tree."""
    text = PAGE.read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
