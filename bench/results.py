"""Rounds to rows: medians and spread, the table, and `results.json`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

from bench.meter import ENOUGH, MILLION

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
    skipped: str = ""
    failed: str = ""

    def figures(self) -> dict[str, Any]:
        """Give the row as `results.json` has it."""
        if not self.rounds and self.failed:
            return {"name": self.name, "failed": self.failed, "checked": False}
        if not self.rounds:
            return {"name": self.name, "skipped": self.skipped}
        row: dict[str, Any] = {"name": self.name, "events": self.rounds[0].events}
        for name in FIGURES:
            row[name] = self._median(name)
        row["checked"] = self.checked
        if self.failed:
            row["failed"], row["checked"] = self.failed, False
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

    @property
    def cpu(self) -> float:
        """The median of the CPU seconds per million events."""
        return self._median("cpu_s_per_million")

    @property
    def least_cpu(self) -> float:
        """The CPU seconds per million events of the cheapest round."""
        return min(one.cpu_s_per_million for one in self.rounds)

    def _median(self, name: str) -> float:
        return rounded(median([getattr(one, name) for one in self.rounds]))


def how(events: int, rounds: int) -> str:
    """Say on what machine is measured, and how much."""
    times = "1 round" if rounds == 1 else f"{rounds} rounds"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}; {events:,} events a topic, {times}."
    )


def rounded(value: float) -> float:
    """Keep four digits that count, and every digit before the point."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else float(round(value))  # noqa: PLR2004 - four digits


def write(rows: list[Row], path: Path) -> None:
    """Write the rows, one object a line."""
    lines = ",\n".join("  " + json.dumps(row.figures()) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", "utf-8")


def table(rows: list[Row]) -> Table:
    """Draw the rows with their medians and ranges, beside the floor of this run."""
    shown = Table(title="Medians of the rounds (least - most)", title_justify="left")
    shown.add_column("", no_wrap=True)
    for name in ("events", "events/s", "CPU s per million", "of floor", "peak MB"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("profiles", no_wrap=True)
    base = next((row.cpu for row in rows if row.name == "floor" and row.rounds), 0.0)
    for row in rows:
        if not row.rounds:
            word = "failed" if row.failed else "skipped"
            shown.add_row(row.name, word, style="red" if row.failed else "dim")
            continue
        it = row.figures()
        shown.add_row(
            row.name,
            f"{it['events']:,}",
            _spread(it, "events_per_s", "{:,.0f}"),
            _spread(it, "cpu_s_per_million", "{:.2f}"),
            f"{row.cpu / base:.1f}" if base else "",
            f"{it['peak_rss_mb']:,.0f}",
            _verdict(row),
        )
    return shown


def _verdict(row: Row) -> str:
    """Say whether the profiles were those of the recount."""
    if row.failed:
        return "not in each round"
    return "as recounted" if row.checked else ""


def _spread(figures: dict[str, Any], name: str, written: str) -> str:
    """Write a figure, with the least and the most where there were several rounds."""
    middle = written.format(figures[name])
    if figures["rounds"] == 1:
        return middle
    least, most = (written.format(one) for one in figures[f"{name}_range"])
    return f"{middle} ({least} - {most})"


def steps(rows: list[Row]) -> Table:
    """Draw where the wall time of the stages goes, in µs an event."""
    title = "Where the time goes: wall µs an event by step (fetch and wait_budget wait)"
    shown = Table(title=title, title_justify="left")
    shown.add_column("", no_wrap=True)
    found: list[dict[str, float]] = []
    for row in rows:
        if row.rounds and (spent := row.figures().get("seconds_by_step")):
            shown.add_column(
                row.name.replace("aggregate-", "aggregate\n"), justify="right"
            )
            done = row.rounds[0].events / ENOUGH
            found.append({step: s / done * MILLION for step, s in spent.items()})
    for step in dict.fromkeys(step for one in found for step in one):
        cells = [f"{one[step]:.2f}" if step in one else "" for one in found]
        shown.add_row(step, *cells)
    return shown
