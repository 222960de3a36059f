"""Draws the status page: one HTML document without scripts, from the board's facts.

Pure but for reading its style sheet once. It shows the same way of the data as the
dashboards, for people without Grafana: on a phone, by day and by night.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from consumer.telemetry.labels import STAGES
from consumer.telemetry.status import troubles_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.telemetry.health import Health
    from consumer.telemetry.status import (
        BatchStatus,
        PartitionStatus,
        Sample,
        StatusBoard,
        Trouble,
    )

REFRESH_SECONDS: Final = 5
_STYLE: Final = (files(__package__) / "status_page.css").read_text("utf-8")
_STATES: Final = {"ready": "good", "degraded": "warn", "not ready": "bad"}
_GOOD_ENDS: Final = frozenset({"complete"})
_UNDER_WAY: Final = frozenset({"accepted"})
_BAD_ENDS: Final = frozenset({"rejected", "unauthorised", "failed", "stuck"})
_NEARLY: Final = 0.9  # of the call budget
_OLD_SECONDS: Final = 60.0  # a lag of that age deserves a look
_WIDTH: Final = 300
_HEIGHT: Final = 48
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def page(application: str, health: Health, board: StatusBoard) -> str:
    """Return the page. Everything that came from outside is escaped."""
    word = health.readiness().word
    title = escape(application)
    return "".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width,initial-scale=1'>",
            f"<meta http-equiv=refresh content={REFRESH_SECONDS}>",
            f"<link rel=icon href='{_icon(_STATES[word])}'>",
            f"<title>{word} · {title}</title><style>{_STYLE}</style><main>",
            f"<header><h1>{title}</h1>{_pill(word)}",
            f"<span class=quiet>at {_time(board.now)}</span><nav>",
            "<a href=metrics>metrics</a><a href=readyz>readyz</a>",
            "<a href=livez>livez</a><a href='?format=json'>JSON</a></nav></header>",
            _reasons(health, board.partitions()),
            _figures(board),
            _partitions(board.partitions()),
            "<div class='grid loose'>",
            _troubles(board.troubles()),
            _batches(board.batches()),
            "</div></main></html>",
        )
    )


def _reasons(health: Health, partitions: Iterable[PartitionStatus]) -> str:
    """Show what is waited for and what is halted, if anything."""
    readiness = health.readiness()
    if readiness.ready and not readiness.degraded:
        return ""
    items = [
        f"<li><b>{escape(c.name)}</b> {escape(trouble)}"
        for c in health.components
        for trouble in troubles_of(c)
    ]
    if any(one.state.startswith("halted") for one in partitions):
        items.append(
            "<li class=quiet>What is halted is tried again once this replica restarts: "
            "mend the cause first."
        )
    return f"<section><h2>What is the matter</h2><ul>{''.join(items)}</ul></section>"


def _figures(board: StatusBoard) -> str:
    samples = board.samples()
    folding = [p for p in board.partitions() if p.stage == "aggregate"]
    lag = sum(p.lag or 0 for p in folding)
    ages = [p.lag_seconds or 0.0 for p in folding]
    behind = f"{lag:,} behind, the oldest {_span(max(ages))} old" if lag else "no lag"
    if halted := sum(p.state.startswith("halted") for p in folding):
        behind += f", not counting {halted} halted partition{'s'[: halted > 1]}"
    rows = sum(p.lag or 0 for p in board.partitions() if p.stage == "upload")
    waiting = f"{rows:,} profiles not yet accepted" if rows else "all accepted"
    cards = (
        _rate("Purchases accounted for", samples, "records", behind),
        _rate("Rows accepted by Target", samples, "rows", waiting),
        _budget(board),
    )
    return f"<div class=grid>{''.join(cards)}</div>"


def _rate(title: str, samples: Sequence[Sample], name: str, beside: str) -> str:
    """Show a counter's rate: of the last minute as a figure, of all as a line."""
    rates = [
        max(0.0, (new.totals[name] - old.totals[name]) / (new.at - old.at))
        for old, new in pairwise(samples)
        if new.at > old.at
    ]
    total = f"{samples[-1].totals[name]:,.0f} since the start" if samples else ""
    return (
        f"<section><h2>{title} <small>{_reach(samples)}</small></h2>"
        f"<div class=figure>{_minute(samples, name):,.0f} <small>a second</small></div>"
        f"{_spark(rates)}"
        f"<div class=quiet>{beside}{' · ' if total else ''}{total}</div></section>"
    )


def _minute(samples: Sequence[Sample], name: str) -> float:
    if not samples:
        return 0.0
    last = samples[-1]
    within = [s for s in samples if last.at - s.at <= 60.0]  # noqa: PLR2004 - a minute
    seconds = last.at - within[0].at
    return (last.totals[name] - within[0].totals[name]) / seconds if seconds else 0.0


def _reach(samples: Sequence[Sample]) -> str:
    """Say how far back the samples go."""
    return f"last {_span(samples[-1].at - samples[0].at)}" if samples else ""


def _spark(values: Sequence[float]) -> str:
    """Draw values as a line over its area, from left to right."""
    top = max(values, default=0.0) or 1.0
    step = _WIDTH / max(1, len(values) - 1)
    points = [
        f"{index * step:.1f},{_HEIGHT - 2 - value / top * (_HEIGHT - 6):.1f}"
        for index, value in enumerate(values)
    ] or [f"0,{_HEIGHT - 2}", f"{_WIDTH},{_HEIGHT - 2}"]
    line = "M" + "L".join(points)
    return (
        f"<svg class=spark viewBox='0 0 {_WIDTH} {_HEIGHT}' height={_HEIGHT} "
        "preserveAspectRatio=none role=img aria-label='events a second over time'>"
        f"<path class=under d='{line}V{_HEIGHT}H0Z'/><path d='{line}'/></svg>"
    )


def _budget(board: StatusBoard) -> str:
    used, most = board.calls_in_last_minute(), board.budget
    if most is None:
        figure, share, kind = "none", 0.0, ""
        beside = "this process does not upload"
    else:
        figure, share = str(used), used / most
        kind = "warn" if share >= _NEARLY else "good"
        beside = f"{most} a minute for all replicas together, the reserve taken off"
    return (
        "<section><h2>Calls to Target</h2>"
        f"<div class=figure>{figure} <small>in the last minute</small></div>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' height={_HEIGHT} "
        "preserveAspectRatio=none role=img aria-label='share of the call budget'>"
        f"{_bar(share, kind, y=18, height=14)}</svg>"
        f"<div class=quiet>{beside}</div></section>"
    )


def _bar(share: float, kind: str, *, y: int = 0, height: int = 8) -> str:
    width = _WIDTH * min(1.0, max(0.0, share))
    shape = f"y={y} height={height} rx={height // 2}"
    filled = f"<rect class='fill {kind}' width={width:.1f} {shape} />" if width else ""
    return f"<rect class=track width={_WIDTH} {shape} />{filled}"


def _partitions(partitions: Iterable[PartitionStatus]) -> str:
    rows: dict[str, str] = dict.fromkeys(STAGES, "")
    for one in partitions:
        rows[one.stage] += _partition(one)
    if not rows["rekey"]:  # most have no such stage
        del rows["rekey"]
    head = (
        "<tr><th>partition<th>state<th class=n>lag<th class=n>age"
        "<th class='n wide'>next offset"
    )
    tables = "".join(
        f"<section><h2>{stage.capitalize()}</h2><table>{head}{body or _NONE}</table>"
        "</section>"
        for stage, body in rows.items()
    )
    return f"<div class=grid>{tables}</div>"


_NONE: Final = "<tr><td colspan=5 class=quiet>no partition is ours"


def _partition(one: PartitionStatus) -> str:
    kind = "good"
    if one.state.startswith("halted"):
        kind = "bad"
    elif one.state != "running" or (one.lag_seconds or 0.0) > _OLD_SECONDS:
        kind = "warn"
    behind = one.state == "running" and kind == "warn"
    word = "running, behind" if behind else escape(one.state)
    if one.restored is not None:
        word = f"{word}, {one.restored:.0%}"
    state = f"<span class='tag long {kind}'>{word}</span>"
    if one.restored is not None:
        state += (
            f"<svg viewBox='0 0 {_WIDTH} 8' height=8 preserveAspectRatio=none "
            f"role=img aria-label='{one.restored:.0%} restored'>"
            f"{_bar(one.restored, 'warn')}</svg>"
        )
    return (
        f"<tr><td>{one.partition}<td>{state}<td class=n>{_number(one.lag)}"
        f"<td class=n>{'' if one.lag_seconds is None else _span(one.lag_seconds)}"
        f"<td class='n wide'>{_number(one.next_offset)}"
    )


def _batches(batches: Sequence[BatchStatus]) -> str:
    body = "".join(
        f"<tr><td class=t>{_clock(one.at)}<td class=n>{one.rows:,}"
        f"<td class=n>{_bytes(one.size_bytes)}"
        f"<td><span class='tag {_end(one.outcome)}'>{escape(one.outcome)}</span>"
        for one in batches[:12]
    )
    head = "<tr><th>last news, UTC<th class=n>rows<th class=n>size<th>outcome"
    none = "<tr><td colspan=4 class=quiet>none yet"
    return f"<section><h2>Last files</h2><table>{head}{body or none}</table></section>"


def _troubles(troubles: Sequence[Trouble]) -> str:
    body = "".join(
        f"<li><time>{_clock(one.at)}</time><span class='tag "
        f"{'warn' if one.level == 'warning' else 'bad'}'>{escape(one.level)}</span> "
        f"{escape(one.sentence)}"
        f"{f' <b>{one.times:,} times</b>' if one.times > 1 else ''}"
        for one in troubles
    )
    none = "<li class=quiet>no warning or error since the start"
    return (
        f"<section><h2>Last warnings and errors</h2><ul>{body or none}</ul></section>"
    )


def _end(outcome: str) -> str:
    if outcome in _GOOD_ENDS:
        return "good"
    if outcome in _UNDER_WAY:
        return "info"
    return "bad" if outcome in _BAD_ENDS else "warn"


def _pill(word: str) -> str:
    return f"<span class='pill {_STATES[word]}' role=status>{word}</span>"


def _icon(kind: str) -> str:
    """Return a dot in the state's colour, for the browser's tab."""
    colour = {"good": "%231d7a46", "warn": "%23e09000", "bad": "%23b3261e"}[kind]
    return (
        "data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22 "
        f"viewBox=%220 0 9 9%22><circle cx=%224.5%22 cy=%224.5%22 r=%224%22 "
        f"fill=%22{colour}%22/></svg>"
    )


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _span(seconds: float) -> str:
    """Write a duration with its largest fitting unit."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"  # noqa: PLR2004 - reads best so


def _time(seconds: float) -> str:
    return f"{_clock(seconds)} UTC"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
