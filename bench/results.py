"""Rounds to rows: medians and spread, the table, and `results.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.meter import Measured

FIGURES = ("wall_s", "events_per_s", "cpu_s_per_million", "peak_rss_mb")


@dataclass(slots=True)
class Row:
    """The rounds of one thing. `checked`: None where there is nothing to check."""

    name: str
    rounds: list[Measured] = field(default_factory=list)
    checked: bool | None = None
    note: str = ""

    def figures(self) -> dict[str, Any]:
        """Give the row as `results.json` has it."""
        if not self.rounds:
            return {"name": self.name, "skipped": self.note}
        row: dict[str, Any] = {"name": self.name, "events": self.rounds[0].events}
        for name in FIGURES:
            row[name] = self._median(name)
        row["checked"] = self.checked
        row["rounds"] = len(self.rounds)
        for name in ("events_per_s", "cpu_s_per_million"):
            every = [getattr(one, name) for one in self.rounds]
            row[f"{name}_range"] = [rounded(min(every)), rounded(max(every))]
        for group in ("detail", "seconds_by_step"):
            held = [getattr(one, group) for one in self.rounds]
            merged = {
                key: rounded(median([one.get(key, 0.0) for one in held]))
                for key in held[0]
            }
            if group == "detail":
                row.update(merged)
            elif merged:
                row[group] = merged
        return row

    def _median(self, name: str) -> float:
        return rounded(median([getattr(one, name) for one in self.rounds]))


def rounded(value: float) -> float:
    """Keep four digits that count, and every digit before the point."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))  # noqa: PLR2004 - four digits


def write(rows: list[Row], path: Path) -> None:
    """Write the rows, one object a line; rows of earlier runs by other names stay."""
    new = {row.name: row.figures() for row in rows}
    old = json.loads(path.read_text("utf-8")) if path.exists() else []
    kept = {row["name"]: row for row in old} | new
    lines = ",\n".join("  " + json.dumps(row) for row in kept.values())
    path.write_text(f"[\n{lines}\n]\n", "utf-8")


def table(rows: list[Row]) -> Table:
    """Draw the rows with their medians and ranges, beside the floor of this run."""
    shown = Table(title="Medians of the rounds, their range in brackets")
    shown.add_column("")
    for name in ("events", "events/s", "CPU s per million", "× floor", "peak RSS MB"):
        shown.add_column(name, justify="right")
    shown.add_column("profiles")
    floor = next((row for row in rows if row.name == "floor" and row.rounds), None)
    base = floor.figures()["cpu_s_per_million"] if floor else None
    for row in rows:
        it = row.figures()
        if "skipped" in it:
            shown.add_row(row.name, "skipped: " + row.note, style="dim")
            continue
        low, high = it["events_per_s_range"]
        least, most = it["cpu_s_per_million_range"]
        cpu = it["cpu_s_per_million"]
        shown.add_row(
            row.name,
            f"{it['events']:,}",
            f"{it['events_per_s']:,.0f} ({low:,.0f}-{high:,.0f})",
            f"{cpu:.2f} ({least:.2f}-{most:.2f})",
            f"{cpu / base:.1f}" if base else "",
            f"{it['peak_rss_mb']:,.0f}",
            {True: "[green]as recounted[/]", False: "[red]wrong[/]", None: ""}[
                row.checked
            ],
        )
    return shown


def steps(rows: list[Row], most: int = 12) -> Table:
    """Draw where the wall time of the stages goes, in µs an event."""
    shown = Table(title="Where the time goes: wall µs an event by step")
    shown.add_column("")
    names: dict[str, float] = {}
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.rounds and row.rounds[0].seconds_by_step:
            done = row.rounds[-1].detail.get("events_in_steps", row.rounds[-1].events)
            spent = row.figures()["seconds_by_step"]
            found[row.name] = {k: v / done * 1e6 for k, v in spent.items()}
            for key, value in found[row.name].items():
                names[key] = max(names.get(key, 0.0), value)
    kept = [key for key in names if key in sorted(names, key=names.__getitem__)[-most:]]
    for row_name in found:
        shown.add_column(row_name, justify="right")
    for key in kept:
        cells = [
            f"{one[key]:.2f}" if key in one else "" for one in found.values()
        ]
        shown.add_row(key, *cells)
    return shown
