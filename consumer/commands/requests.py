"""`pos-consumer requests`: what was asked of the running service, and how far it is."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.clock import Clock
    from consumer.stages.requests import Requests, Standing

LOOK_SECONDS: Final = 0.5

# Options of the commands that ask.
Visitors: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="These visitors: an id a line, - for standard input.",
        allow_dash=True,
        exists=True,
        dir_okay=False,
    ),
]
Wait: TypeAlias = Annotated[
    bool, typer.Option(help="Stay until it is done, and show how far it is.")
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON, a line a request, at the end.")
]


def requests(
    context: typer.Context,
    cancel: Annotated[
        str | None, typer.Option(metavar="ID", help="Take a request back.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, a line a request.")
    ] = False,
) -> None:
    """Show what `resync` and its like have asked for, oldest first.

    What has ended stays for an hour.
    """
    from consumer.stages.rebuild_progress import REBUILD

    with connect(context) as (known, _):
        standings = known.standings()
        if cancel is not None:
            if cancel not in {one.id for one in standings}:
                raise typer.BadParameter(f"There is no request {cancel}.")
            if cancel in {one.id for one in standings if one.kind == REBUILD}:
                raise typer.BadParameter(
                    "Give it up by `pos-consumer rebuild --abort`."
                )
            known.take_back(cancel)
            typer.echo(f"Taken back: {cancel}.")
            return
    for one in standings:
        typer.echo(json.dumps(asdict(one)) if as_json else _line(one))
    if not standings and not as_json:
        typer.echo("Nothing is asked for.")


@contextmanager
def connect(context: typer.Context) -> Iterator[tuple[Requests, Clock]]:
    """Read the configuration and the control topic, once a broker answers."""
    import asyncio

    from consumer.clock import SystemClock
    from consumer.config import load_settings
    from consumer.kafka.clients import wait_for_broker
    from consumer.stages.requests import connected
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    configure_logging(settings.log)
    clock = SystemClock()
    asyncio.run(wait_for_broker(settings, clock))
    with connected(settings, clock) as found:
        yield found, clock


def listed(visitors: Path) -> list[str]:
    """Read visitor ids from a file, a line each; each once, and at least one."""
    text = sys.stdin.read() if str(visitors) == "-" else visitors.read_text("utf-8")
    ids = list(dict.fromkeys(line for line in text.splitlines() if line))
    if not ids:
        message = f"{visitors} names no visitor."
        raise typer.BadParameter(message)
    return ids


def follow(known: Requests, asked: Sequence[str], *, wait: bool, as_json: bool) -> None:
    """Show how far requests are until they are done; exit 1 if one has failed."""
    said: dict[str, str] = {}
    while True:
        standings = [one for one in known.standings() if one.id in asked]
        over = len(standings) == len(asked) and all(one.over for one in standings)
        for one in standings if not as_json or over else ():
            line = json.dumps(asdict(one)) if as_json else _line(one)
            if said.get(one.id) != line:
                typer.echo(line)
                said[one.id] = line
        if over:
            if any(one.failed for one in standings):
                raise typer.Exit(1)
            return
        if not wait and (as_json or len(standings) == len(asked)):
            if as_json:
                typer.echo("\n".join(json.dumps({"id": one}) for one in asked))
            return
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            typer.echo("It goes on; `pos-consumer requests` shows how far it is.")
            raise typer.Exit(0) from None


def _line(one: Standing) -> str:
    """Say how far a request is, in a line."""
    if one.failed:
        state = f"failed in {one.failed} of {one.partitions} partitions"
    elif one.over:
        state = f"done{_without_profile(one)}"
    elif one.begun == 0:
        state = "waiting for an owner of the partitions"
    else:
        state = f"{one.ended} of {one.partitions} partitions done"
        if one.waiting:
            state += f", {one.waiting} waiting until Target has the rows"
    return f"{one.kind} {one.id}: {one.done:,} of {one.total:,}, {state}"


def _without_profile(one: Standing) -> str:
    """Say how many of the visitors that were named have none, in the end."""
    none = 0 if one.asked is None else one.asked - one.total
    if none <= 0:
        return ""
    return f"; {none:,} {'id has' if none == 1 else 'ids have'} no profile"
