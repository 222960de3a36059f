"""`pos-consumer erase`: forget visitors, here and, as far as it can be, at Target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer.commands import config_file
from consumer.commands.requests import (
    AsJson,
    Visitors,
    Wait,
    connect,
    follow,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consumer.config import Secret

MOST_VISITORS: Final = 5_000  # a request: its record stays below 200 kB


def erase(
    context: typer.Context,
    visitor: Annotated[
        str | None, typer.Argument(help="The id of the visitor.", show_default=False)
    ] = None,
    *,
    visitors: Visitors = None,
    pseudonyms: Annotated[
        bool,
        typer.Option(
            "--pseudonyms", help="The ids are pseudonyms already, as Target has them."
        ),
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Ask the running service to erase visitors.

    Events that have happened by now no longer count for them, also when they are read
    again. Target gets the sentinels that are configured; then the profile is deleted.
    `pos-consumer requests` shows how far it is, and docs/privacy.md what remains where.
    """
    from consumer.config import load_settings
    from consumer.kafka.rejected_rows import RejectedRows
    from consumer.kafka.topics import TopicAdmin
    from consumer.profiles.fold import packed_hashes
    from consumer.stages.erasure import KIND

    ids = _ids(visitor, visitors)
    settings = load_settings(config_file(context))
    if settings.purchases.pseudonym_key is not None and not pseudonyms:
        ids = _pseudonyms(ids, settings.purchases.pseudonym_key)
    with connect(context) as (requests, clock):
        count, _ = TopicAdmin(settings).require()
        rejected = RejectedRows(settings)
        try:
            rejected.forget(ids, range(count))
        finally:
            rejected.close()
        asked = [
            requests.ask(KIND, {"visitors": [key.hex() for key in keys]}, clock.now())
            for start in range(0, len(ids), MOST_VISITORS)
            if (keys := packed_hashes(i.encode() for i in ids[start:][:MOST_VISITORS]))
        ]
        follow(requests, [one.id for one in asked], wait=wait, as_json=as_json)


def _ids(visitor: str | None, visitors: Path | None) -> list[str]:
    """Read who is meant; each once."""
    if visitors is not None and visitor is None:
        return listed(visitors)
    if not visitor or visitors is not None:
        message = "Say whom to erase: one VISITOR, or --visitors FILE."
        raise typer.BadParameter(message)
    return [visitor]


def _pseudonyms(ids: Sequence[str], key: Secret) -> list[str]:
    """Give what the service knows the visitors by."""
    import polars as pl

    from consumer.plan.pseudonyms import Pseudonyms

    found: list[str] = Pseudonyms(key).of(pl.Series(list(ids))).to_list()
    return found
