"""The plot for the docs: what the job costs, and how fast it is, as bars in an SVG.

Made by hand: two panels of bars, legible on light and on dark pages.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SHOWN: Final = {
    "floor": "consume only (the floor)",
    "aggregate-zipf": "pos-consumer, zipf 1.2",
    "aggregate-uniform": "pos-consumer, uniform",
    "aggregate-deduplicated": "pos-consumer, deduplicated",
    "service": "pos-consumer, up to Target",
    "kafka-streams": "Kafka Streams (warm)",
    "quix": "Quix Streams",
}
OURS: Final = ("aggregate", "service")
WIDTH: Final = 760
LABELS: Final = 210
BAR: Final = 22
GAP: Final = 8
HEAD: Final = 34
ROOM: Final = 90  # for the figure behind the longest bar
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .ours { fill: #0969da } .peer { fill: #8c959f } .floor { fill: #57ab5a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours { fill: #58a6ff } .peer { fill: #6e7681 } .floor { fill: #3fb950 }
  }
"""

Figures = dict[str, Any]


def plot(rows: Sequence[Figures]) -> str:
    """Draw the rows that were measured, of those that `SHOWN` names."""
    by_name = {row["name"]: row for row in rows if "events_per_s" in row}
    held = {name: by_name[name] for name in SHOWN if name in by_name}
    panels = (
        (
            "CPU seconds per million events (less is better)",
            {name: row["cpu_s_per_million"] for name, row in held.items()},
            "{:.1f}".format,
        ),
        (
            "Events a second on two cores, the broker on them too (more is better)",
            {
                name: row["events_per_s"]
                for name, row in held.items()
                if name != "floor"  # off the scale: it does no work
            },
            "{:,.0f}".format,
        ),
    )
    parts: list[str] = []
    top = 0
    for title, values, written in panels:
        parts.append(_panel(title, values, written, top))
        top += HEAD + len(values) * (BAR + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img" '
        f'aria-label="The reference job: cost and speed, side by side">\n'
        "<title>The reference job: cost and speed, side by side</title>\n"
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(
    title: str, values: Mapping[str, float], written: Callable[[float], str], top: int
) -> str:
    longest = max(values.values(), default=1.0)
    lines = [f'<text class="title" x="0" y="{top + 18}">{escape(title)}</text>']
    for number, (name, value) in enumerate(values.items()):
        y = top + HEAD + number * (BAR + GAP)
        width = max(1.0, value / longest * (WIDTH - LABELS - ROOM))
        kind = "floor" if name == "floor" else "peer"
        kind = "ours" if name.startswith(OURS) else kind
        middle = y + BAR // 2 + 5
        lines += [
            (
                f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">'
                f"{escape(SHOWN[name])}</text>"
            ),
            (
                f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{width:.1f}" '
                f'height="{BAR}" rx="3"/>'
            ),
            f'<text x="{LABELS + width + 8:.1f}" y="{middle}">{written(value)}</text>',
        ]
    return "\n".join(lines)
