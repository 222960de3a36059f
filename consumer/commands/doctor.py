"""`pos-consumer doctor`: is everything there that a start needs? Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from consumer.stages.finding import Finding

Timeout = Annotated[
    float, typer.Option(min=1.0, help="Seconds to try the brokers.", metavar="SECONDS")
]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many replicas will upload; without it, those in the group now.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line instead.")
]


def doctor(
    context: typer.Context,
    timeout: Timeout = 10.0,
    replicas: Replicas = None,
    as_json: AsJson = False,
) -> None:
    """Look at configuration, brokers, topics, schemas, Target, clock, disk and budget.

    Each line is `ok`, or says what to do. Exit code 1 if something is to be done.
    """
    import asyncio
    import json
    import tempfile
    from pathlib import Path

    from consumer.clock import SystemClock
    from consumer.config import load_settings
    from consumer.loading import schemas_of
    from consumer.stages.doctor import examine
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    configure_logging(settings.log)

    async def look(folder: str) -> bool:
        fine = True
        elsewhere = settings.aggregate.model_copy(update={"state_dir": Path(folder)})
        told = settings.model_copy(update={"aggregate": elsewhere})
        async for one in examine(
            settings,
            SystemClock(),
            lambda: schemas_of(told),
            patience=timeout,
            replicas=replicas,
        ):
            fine &= one.ok
            if as_json:
                shown = {"subject": one.subject, "ok": one.ok, "what": one.what}
                typer.echo(json.dumps({**shown, "remedy": one.remedy}))
            else:
                _print(one)
        return fine

    # What is answered now counts, not what a registry once answered.
    with tempfile.TemporaryDirectory(prefix="pos-consumer-doctor-") as folder:
        fine = asyncio.run(look(folder))
    if not fine:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    mark = "ok" if finding.ok else "!!"
    typer.echo(f"{mark}  {finding.subject:<14}{finding.what}")
    if finding.remedy:
        typer.echo(f"{'':<18}{finding.remedy}")
