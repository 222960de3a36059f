"""The figures of a run as a table in a page of the docs, between two marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BEGIN: Final = "<!-- figures: written by a whole run of the bench -->\n"
END: Final = "<!-- end of figures -->\n"
HEAD: Final = """\
| | events | events/s | CPU s per million | of floor | peak MB | profiles |
|---|--:|--:|--:|--:|--:|---|
"""
LATENCIES: Final = (
    "readable_p50_ms",
    "readable_p99_ms",
    "accepted_p50_ms",
    "accepted_p99_ms",
)


def keep(page: Path, how: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put the figures of rows, as `results.json` has them, into the page.

    `how` says in a sentence what was run on what.
    """
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{figures(how, [*rows])}{END}{after}", "utf-8")


def figures(how: str, rows: list[Mapping[str, Any]]) -> str:
    """Write the figures as Markdown."""
    floor = next((one for one in rows if one["name"] == "floor"), {})
    base = floor.get("cpu_s_per_million", 0.0)
    lines = "".join(_line(one, base) for one in rows)
    told = "".join(_latency(one) for one in rows if LATENCIES[0] in one)
    return f"{how}\n\n{HEAD}{lines}" + (f"\n{told}" if told else "")


def _line(row: Mapping[str, Any], base: float) -> str:
    if "events" not in row:
        why = "failed" if "failed" in row else "skipped"
        return f"| `{row['name']}` | {why} | | | | | |\n"
    cpu = row["cpu_s_per_million"]
    cells = (
        f"`{row['name']}`",
        f"{row['events']:,}",
        f"{row['events_per_s']:,.0f}",
        f"{cpu:.2f}",
        f"{cpu / base:.1f}" if base else "",
        f"{row['peak_rss_mb']:,.0f}",
        "as recounted" if row["checked"] else row.get("failed", ""),
    )
    return f"| {' | '.join(cells)} |\n"


def _latency(row: Mapping[str, Any]) -> str:
    p50, p99, accepted_p50, accepted_p99 = (row[name] for name in LATENCIES)
    return (
        f"- `{row['name']}`: readable after {p50:,.0f} ms (p50) and {p99:,.0f} ms "
        f"(p99), accepted after {accepted_p50:,.0f} ms and {accepted_p99:,.0f} ms.\n"
    )
