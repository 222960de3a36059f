"""The plots for the docs: what the job costs, and how fast it is, as bars in an SVG.

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
PEERS: Final = ("kafka-streams", "quix")
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


def plot(
    rows: Sequence[Figures],
    shown: Mapping[str, str] = SHOWN,
    title: str = "The reference job: cost and speed, side by side",
) -> str:
    """Draw the rows that were measured, of those that `shown` has words for."""
    by_name = {row["name"]: row for row in rows if "events_per_s" in row}
    held = {words: by_name[name] for name, words in shown.items() if name in by_name}
    kinds = {shown[name]: _kind(name) for name in shown}
    panels = (
        (
            "CPU seconds per million events (less is better)",
            {words: row["cpu_s_per_million"] for words, row in held.items()},
            "{:.1f}".format,
        ),
        (
            "Events a second on two cores, the broker on them too (more is better)",
            {
                words: row["events_per_s"]
                for words, row in held.items()
                if kinds[words] != "floor"  # off the scale: it does no work
            },
            "{:,.0f}".format,
        ),
    )
    parts: list[str] = []
    top = 0
    for about, values, written in panels:
        parts.append(_panel(about, values, kinds, written, top))
        top += HEAD + len(values) * (BAR + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img" '
        f'aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _kind(name: str) -> str:
    return "floor" if name == "floor" else "peer" if name in PEERS else "ours"


def _panel(
    title: str,
    values: Mapping[str, float],
    kinds: Mapping[str, str],
    written: Callable[[float], str],
    top: int,
) -> str:
    longest = max(values.values(), default=1.0)
    lines = [f'<text class="title" x="0" y="{top + 18}">{escape(title)}</text>']
    for number, (words, value) in enumerate(values.items()):
        y = top + HEAD + number * (BAR + GAP)
        width = max(1.0, value / longest * (WIDTH - LABELS - ROOM))
        middle = y + BAR // 2 + 5
        lines += [
            (
                f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">'
                f"{escape(words)}</text>"
            ),
            (
                f'<rect class="{kinds[words]}" x="{LABELS}" y="{y}" '
                f'width="{width:.1f}" height="{BAR}" rx="3"/>'
            ),
            f'<text x="{LABELS + width + 8:.1f}" y="{middle}">{written(value)}</text>',
        ]
    return "\n".join(lines)
