"""What the status page shows: partitions and last batches, and the page itself.

The stages write to a `StatusBoard`; `page` makes HTML of a `Snapshot` and is pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.telemetry.health import Component, Health

BATCHES_SHOWN: Final = 20
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;"
    "padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%;margin-bottom:2rem}"
    "th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}"
)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition in one stage; `state` is a word or a sentence of what it does."""

    stage: str
    partition: int
    state: str
    next_offset: int | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One batch file; `ended_at` in seconds since the epoch."""

    ended_at: float
    rows: int
    size_bytes: int
    outcome: str


class StatusBoard:
    """The latest facts for the page; written by stages, from any thread."""

    def __init__(self) -> None:
        """Start with nothing to show."""
        self._partitions: dict[tuple[str, int], PartitionStatus] = {}
        self._batches: deque[BatchStatus] = deque(maxlen=BATCHES_SHOWN)

    def partition(self, status: PartitionStatus) -> None:
        """Show a partition as it is now."""
        self._partitions[status.stage, status.partition] = status

    def forget(self, stage: str, partition: int) -> None:
        """Stop showing a partition that is no longer ours."""
        self._partitions.pop((stage, partition), None)

    def batch(self, status: BatchStatus) -> None:
        """Show a batch among the last ones."""
        self._batches.append(status)

    def partitions(self) -> tuple[PartitionStatus, ...]:
        """Return all partitions, by stage and number."""
        return tuple(status for _, status in sorted(self._partitions.copy().items()))

    def batches(self) -> tuple[BatchStatus, ...]:
        """Return the last batches, newest first."""
        return tuple(reversed(self._batches.copy()))


def as_json(health: Health, board: StatusBoard) -> dict[str, Any]:
    """Return the page's facts as plain data."""
    readiness = health.readiness()
    return {
        "state": readiness.word,
        "components": {c.name: _component_state(c) for c in health.components},
        "partitions": [asdict(status) for status in board.partitions()],
        "batches": [asdict(status) for status in board.batches()],
    }


def page(application: str, health: Health, board: StatusBoard) -> str:
    """Return the status page as one HTML document without scripts."""
    state = health.readiness().word
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(application)}: {state}</title><style>{_STYLE}</style>",
        f"<h1>{escape(application)}</h1><p>{state}. See also ",
        "<a href=metrics>metrics</a>, <a href=livez>livez</a>, ",
        "<a href=readyz>readyz</a>, <a href='?format=json'>this page as JSON</a>.",
        _table(
            "Components",
            ("component", "state"),
            ((c.name, _component_state(c)) for c in health.components),
        ),
        _table(
            "Partitions",
            ("stage", "partition", "state", "next offset", "lag"),
            (
                (p.stage, p.partition, p.state, p.next_offset, p.lag)
                for p in board.partitions()
            ),
        ),
        _table(
            "Last batches",
            ("ended", "rows", "bytes", "outcome"),
            (
                (_time(b.ended_at), f"{b.rows:,}", f"{b.size_bytes:,}", b.outcome)
                for b in board.batches()
            ),
        ),
    ]
    return "".join(parts)


def _component_state(component: Component) -> str:
    if component.waiting_for:
        return f"not ready: {component.waiting_for}"
    if component.degraded:
        halted = "; ".join(f"{k}: {v}" for k, v in component.degraded.items())
        return f"degraded: {halted}"
    return "ready"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in rows
    )
    if not body:
        body = f"<tr><td colspan={len(heads)}>none yet</td></tr>"
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return "" if value is None else escape(str(value))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")
