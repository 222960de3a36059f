"""Lines over a common, logarithmic axis, as an SVG for the docs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WIDTH: Final = 760
HEIGHT: Final = 200  # of a panel
LEFT: Final = 60
RIGHT: Final = 80
HEAD: Final = 34
BELOW: Final = 16  # a panel's lowest value
FOOT: Final = 44
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .axis { stroke: #8c959f44 }
  .a { stroke: #0969da } .b { stroke: #bc4c00; stroke-dasharray: 7 3 }
  text.a { fill: #0969da } text.b { fill: #bc4c00 }
  .a, .b { stroke-width: 2 } text.a, text.b { stroke: none }
  polyline { fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .a { stroke: #58a6ff } .b { stroke: #f0883e }
    text.a { fill: #58a6ff } text.b { fill: #f0883e }
  }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis of values, and lines over it by their names."""

    title: str
    lines: Mapping[str, Sequence[float]]
    log: bool = False


def draw(below: str, xs: Sequence[float], panels: Sequence[Panel]) -> str:
    """Draw panels one under the other over `xs`, all above 0."""
    height = len(panels) * (HEIGHT + HEAD) + FOOT
    across = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log=True)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
        f"<title>{escape(', '.join(panel.title for panel in panels))}</title>",
        f"<style>{STYLE}</style>",
    ]
    tops = [number * (HEIGHT + HEAD) + HEAD for number in range(len(panels))]
    for panel, top in zip(panels, tops, strict=True):
        parts += _panel(panel, xs, across, top)
    bottom = height - FOOT
    for tick in _ticks(min(xs), max(xs)):
        at = across(tick)
        parts += [
            f'<line class="axis" x1="{at:.0f}" y1="{top}" '
            f'x2="{at:.0f}" y2="{top + HEIGHT - BELOW}"/>'
            for top in tops
        ]
        parts.append(
            f'<text x="{at:.0f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{bottom + 38}" '
        f'text-anchor="middle">{escape(below)}</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    panel: Panel, xs: Sequence[float], across: Callable[[float], float], top: int
) -> Iterator[str]:
    values = [value for line in panel.lines.values() for value in line]
    low = min(values) if panel.log else 0.0
    bottom, ceiling = top + HEIGHT - BELOW, top + 10
    up = _scale(low, max(values), bottom, ceiling, log=panel.log)
    yield f'<text class="title" x="0" y="{top - 8}">{escape(panel.title)}</text>'
    ticks = _ticks(low, max(values)) if panel.log else _steps(max(values))
    for tick in ticks:
        y = up(tick)
        yield (
            f'<line class="axis" x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" '
            f'y2="{y:.0f}"/>'
        )
        yield f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>'
    ends: list[float] = []
    for name, colour in zip(panel.lines, "ab", strict=False):
        line = panel.lines[name]
        points = " ".join(
            f"{across(x):.1f},{up(y):.1f}" for x, y in zip(xs, line, strict=True)
        )
        yield f'<polyline class="{colour}" points="{points}"/>'
        end = up(line[-1])
        if ends and abs(end - ends[-1]) < 16:  # noqa: PLR2004 - a line of text
            end = ends[-1] - 16
        ends.append(end)
        yield (
            f'<text class="{colour}" x="{WIDTH - RIGHT + 6}" y="{end + 4:.0f}">'
            f"{escape(name)}</text>"
        )


def _scale(
    low: float, high: float, start: float, end: float, *, log: bool
) -> Callable[[float], float]:
    """Return what maps values from `low` to `high` to places on the page."""
    warp = math.log10 if log else float
    first, last = warp(low), warp(high)
    span = (last - first) or 1.0
    return lambda value: start + (warp(value) - first) / span * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten, and 2 and 5 times these where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        within = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(within) > 3:  # noqa: PLR2004 - enough to read by
            break
    return within


def _steps(high: float) -> list[float]:
    """Return round steps from 0 up to `high`."""
    step = 10 ** math.floor(math.log10(high))
    while high / step < 3:  # noqa: PLR2004 - lines enough to read by
        step /= 2
    return [number * step for number in range(int(high / step) + 1)]
