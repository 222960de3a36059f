"""What `pos-consumer rebuild` does: compute, announce, wait for the owners.

Each step begins where an earlier process has left it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.kafka.control import Control
    from consumer.kafka.control_records import ControlView, Generation, Request
    from consumer.plan.compile import Plan

LOOK_SECONDS: Final = 1.0
CONTROL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What the command works with."""

    settings: Settings
    control: Control
    plan: Plan
    schemas: Schemas
    as_json: bool

    def say(self, text: str) -> None:
        """Tell a person, beside what is output."""
        typer.echo(text, err=True)

    def put_out(self, facts: Mapping[str, Any]) -> None:
        """Print the result for a tool."""
        import json

        if self.as_json:
            typer.echo(json.dumps(facts, ensure_ascii=False))


def finish(desk: Desk, request: Request) -> None:
    """Bring a rebuild to its end, from wherever it is."""
    from consumer.stages.rebuild import clean_up

    began = time.monotonic()
    generation = announced(desk.control.read(), request)
    if generation is None:
        _compute(desk, request)
        generation = _announce(desk, request)
    _hand_over(desk, request, generation)
    for one in (*request.body.get("replaces", []), request.id):
        clean_up(desk.settings, one)
    seconds = round(time.monotonic() - began, 1)
    desk.say(
        f"The rebuild is done: every profile is of generation {generation.number}."
    )
    desk.put_out(
        {
            "id": request.id,
            "attributes": request.body["attributes"],
            "generation": generation.number,
            "partitions": request.partitions,
            "seconds": seconds,
        }
    )


def _compute(desk: Desk, request: Request) -> None:
    """Fold until little is left of what the owners have folded.

    Never more than they: an owner that comes to a rebuild which is ahead would count
    once more what lies between.
    """
    from consumer.kafka.excerpt import Excerpt
    from consumer.stages.rebuild import Shadow, near, owners_positions, settings_of

    start = start_of(request.body["from"])
    first = dict(enumerate(request.body["begins"]))
    own = settings_of(desk.settings, request.id, start)
    shadow = Shadow(
        own,
        desk.plan,
        desk.schemas,
        request.body["attributes"],
        control=desk.control.read(),
        begins=first,
    )
    shadow.start()
    rates = Rates()
    told = False
    checked = time.monotonic()
    try:
        with (
            Excerpt(desk.settings, desk.settings.topics.state) as state,
            _progress_bar(desk) as show,
        ):
            while True:
                time.sleep(LOOK_SECONDS)
                owners = owners_positions(state, first)
                shadow.follow(owners)
                at = shadow.positions()
                left = sum(max(0, owners[n] - at.get(n, first[n])) for n in owners)
                total = sum(max(0, owners[n] - first[n]) for n in owners)
                rate = rates.add(time.monotonic(), total - left)
                show(total - left, total, rate, len(at), shadow.count)
                behind = {n: end for n, end in owners.items() if end < at.get(n, end)}
                if len(at) == shadow.count and near(left, rate) and not behind:
                    break
                if behind and not told:
                    told = True
                    desk.say(_waiting(behind, at))
                if time.monotonic() - checked >= CONTROL_SECONDS:
                    checked = time.monotonic()
                    _require_wanted(desk, request)
    finally:
        shadow.stop()


def _waiting(behind: Mapping[int, int], at: Mapping[int, int]) -> str:
    """Say that the service must come first to where the rebuild begins."""
    first = min(behind)
    return (
        f"Waiting for the service in {len(behind)} partitions, as it has not come to "
        f"where the rebuild begins: in partition {first} it is at offset "
        f"{behind[first]} of {at[first]}."
    )


def start_of(text: str | None) -> datetime | str:
    """Read `--from`; earliest without it."""
    if text is None or text == "earliest":
        return "earliest"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            'expected earliest or a time with its offset: "2026-01-31T00:00Z"',
            param_hint="--from",
        )
    return moment


class Rates:
    """Records a second over the last looks."""

    def __init__(self) -> None:
        """Start with none."""
        self._looks: list[tuple[float, int]] = []

    def add(self, now: float, done: int) -> float:
        """Give the rate after one more look."""
        self._looks = [*self._looks[-9:], (now, done)]
        (first, before), (last, after) = self._looks[0], self._looks[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else 0.0


@contextmanager
def _progress_bar(
    desk: Desk,
) -> Iterator[Callable[[int, int, float, int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    said = 0.0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("rebuilding", total=None)

        def show(done: int, total: int, rate: float, flowing: int, count: int) -> None:
            nonlocal said
            words = f"{rate:,.0f} records/s, {flowing} of {count} partitions"
            progress.update(task, completed=done, total=total, description=words)
            if not console.is_terminal and time.monotonic() - said > 10 * LOOK_SECONDS:
                said = time.monotonic()
                ahead = f", {(total - done) / rate:,.0f} s left" if rate else ""
                desk.say(f"{done:,} of {total:,} records, {words}{ahead}")

        yield show


def _require_wanted(desk: Desk, request: Request) -> None:
    from consumer.errors import PosConsumerError

    if request.key not in desk.control.read().records:
        raise PosConsumerError(f"The rebuild {request.id} was given up by --abort.")


def _announce(desk: Desk, request: Request) -> Generation:
    from functools import partial

    from consumer.errors import BrokerUnreachable, PosConsumerError
    from consumer.kafka.announcement import Announcement
    from consumer.stages.generations import announce_rebuild
    from consumer.stages.rebuild import described, replays

    def read() -> ControlView:
        view = desk.control.read()
        if request.key not in view.records:
            _require_wanted(desk, request)
        if replays(view) != request.body["replays"]:
            raise PosConsumerError(
                "Dead letters were replayed since the rebuild began, which may have "
                "counted some of them twice.",
                "Give it up with --abort, and begin it anew.",
            )
        return view

    facts = described(desk.settings, request.id, desk.plan, request.body["attributes"])
    for last in (False, False, True):
        try:
            return announce_rebuild(
                partial(Announcement, desk.settings),
                read,
                desk.plan,
                facts,
                partitions=request.partitions,
                at=time.time(),
                after=request.body["generation"],
            )
        except BrokerUnreachable:  # or a replica has announced something meanwhile
            if last:
                raise
            time.sleep(CONTROL_SECONDS)
    raise AssertionError


def announced(view: ControlView, request: Request) -> Generation | None:
    """Give the generation by which a rebuild is taken over; None before."""
    found = view.generations
    return next((one for one in found if one.rebuild.get("id") == request.id), None)


def _hand_over(desk: Desk, request: Request, generation: Generation) -> None:
    """Wait until every partition's owner has taken the rebuild over."""
    view = desk.control.read()
    known = view.generations
    before = next((g for g in reversed(known) if g.number < generation.number), None)
    if before is not None and before.definitions == generation.definitions:
        desk.say("Computed. The running replicas take it over, partition by partition.")
    else:
        desk.say(
            f"Computed. Now restart the replicas with this configuration, one after "
            f"the other: generation {generation.number} is theirs."
        )
    told = ""
    while not _over(desk, view, request, generation):
        words = in_words(view, request)
        if words != told:
            desk.say(words)
            told = words
        time.sleep(CONTROL_SECONDS)
        view = desk.control.read()


def _over(
    desk: Desk, view: ControlView, request: Request, generation: Generation
) -> bool:
    """Whether every partition has taken it over.

    The replicas remove a request an hour after its end: then positions tell.
    """
    from consumer.stages.rebuild import taken_over

    if request.key in view.records:
        return view.ended(request)
    return taken_over(desk.settings, generation)


def tidy(desk: Desk, view: ControlView) -> None:
    """Remove what earlier rebuilds have left whose command did not see their end."""
    from consumer.stages.rebuild import clean_up, has_topics, taken_over

    for one in view.generations:
        rebuild = str(one.rebuild.get("id", ""))
        left = rebuild and has_topics(desk.settings, rebuild)
        if left and taken_over(desk.settings, one):
            clean_up(desk.settings, rebuild)
            desk.say(f"Removed what the rebuild {rebuild} had left.")


def in_words(view: ControlView, request: Request) -> str:
    """Say how far the owners are."""
    reports = view.progress(request.id).values()
    done = sum(one.ended for one in reports)
    joining = [one for one in reports if not one.ended]
    words = f"{done} of {request.partitions} partitions have taken it over"
    if joining:
        shares = ", ".join(
            f"{one.partition}: {one.done:,} of {one.total:,} profiles"
            for one in sorted(joining, key=lambda one: one.partition)
        )
        words += f"; {shares}"
    return f"{words}."
