"""`pos-consumer resync`: stored profiles to Target once more, without a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer.commands.requests import (
    AsJson,
    Visitors,
    Wait,
    connect,
    follow,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MOST_BYTES: Final = 400_000
"""Of the ids in one request: a record of the control topic has a limit."""


def resync(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="The profiles of all visitors.")
    ] = False,
    visitors: Visitors = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="The profiles that have not changed for so long, such as 7d.",
        ),
    ] = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Ask the running service to send stored profiles to Target once more.

    Nothing is computed anew. The rows go within the call budget, beside the live ones,
    and never over a newer one; a restart goes on where it was. What Target once
    refused is tried again. `pos-consumer requests` shows how far it is.
    """
    from consumer.stages.upload_resync import KIND

    bodies = _bodies(everything=everything, visitors=visitors, older_than=older_than)
    with connect(context) as (requests, clock):
        asked = [requests.ask(KIND, body, clock.now()).id for body in bodies]
        follow(requests, asked, wait=wait, as_json=as_json)


def _bodies(
    *, everything: bool, visitors: Path | None, older_than: str | None
) -> list[dict[str, object]]:
    """Make the requests' bodies of what is asked for, which must be one thing."""
    from consumer.config.values import parse_duration

    if everything + (visitors is not None) + (older_than is not None) != 1:
        message = "Say what to send: one of --all, --visitors FILE, --older-than."
        raise typer.BadParameter(message)
    if visitors is not None:
        return [{"visitors": part} for part in _parts(listed(visitors))]
    if older_than is not None:
        try:
            return [{"older_than": parse_duration(older_than)}]
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--older-than") from error
    return [{"all": True}]


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    """Cut ids into parts that a record can hold."""
    part: list[str] = []
    size = 0
    for visitor in ids:
        size += 2 * len(visitor.encode()) + 4  # escapes, quotes, a comma
        if part and size > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(visitor)
    yield part
