"""`pos-consumer topics plan|create`: our topics, as they must be and as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands import config_file
from consumer.commands.reaching import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.kafka.topics import Difference, TopicAdmin, TopicSpec

app = typer.Typer(
    name="topics",
    help="Print or create the topics that the service needs beside its input.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
StartupTimeout = Annotated[
    str | None,
    typer.Option(
        help='How long to try an unreachable broker, such as "30s"; `plan` tries it '
        "for 10 s without, `create` as long as the configuration says."
    ),
]


@app.command()
def plan(
    context: typer.Context,
    as_json: AsJson = False,
    startup_timeout: StartupTimeout = None,
) -> None:
    """Print each topic's settings, what differs, and what would mend it."""
    specs, found = _connect(context, startup_timeout, PATIENCE).plan()
    if as_json:
        _print_json(specs, found)
        return
    _print_specs(specs)
    _print_differences(found)


@app.command()
def create(
    context: typer.Context,
    as_json: AsJson = False,
    startup_timeout: StartupTimeout = None,
) -> None:
    """Create the topics that are missing; exit 1 if one that exists differs.

    Nothing that exists is changed.
    """
    admin = _connect(context, startup_timeout)
    specs, found = admin.plan()
    missing = {one.topic for one in found if one.kind == "missing"}
    admin.create([spec for spec in specs if spec.name in missing])
    created = [spec for spec in specs if spec.name in missing]
    left = [one for one in found if one.kind != "missing"]
    if as_json:
        _print_json(created, left)
    else:
        for spec in created:
            typer.echo(f"Created {spec.name} with {spec.partitions} partitions.")
        _print_differences(left)
    if left:
        raise typer.Exit(1)


def _connect(
    context: typer.Context, startup_timeout: str | None, patience: float | None = None
) -> TopicAdmin:
    """Wait for a broker as long as the option says, or for `patience`; see `reach`."""
    from consumer.commands.reaching import reach
    from consumer.config import load_settings
    from consumer.kafka.topics import TopicAdmin
    from consumer.telemetry.logging import configure_logging

    flags = {} if startup_timeout is None else {"startup_timeout": startup_timeout}
    settings = load_settings(config_file(context), flags)
    configure_logging(settings.log)
    reach(settings, patience if startup_timeout is None else None)
    return TopicAdmin(settings)


def _print_json(specs: Sequence[TopicSpec], found: Sequence[Difference]) -> None:
    import json
    from dataclasses import asdict

    shown: dict[str, Any] = {
        "topics": [asdict(spec) for spec in specs],
        "differences": [asdict(difference) for difference in found],
    }
    typer.echo(json.dumps(shown, indent=2))


def _print_specs(specs: Sequence[TopicSpec]) -> None:
    from rich.table import Column, Table

    from consumer.commands.tables import console

    table = Table(
        Column("topic", overflow="fold"),
        "partitions",
        "settings",
        title="The topics of the service",
    )
    for spec in specs:
        config = "\n".join(f"{key}={value}" for key, value in spec.config.items())
        table.add_row(spec.name, str(spec.partitions), config)
    console().print(table)


def _print_differences(found: Sequence[Difference]) -> None:
    if not found:
        typer.echo("All topics are there and set as they must be.")
        return
    for difference in found:
        typer.echo(f"{difference.what} {difference.remedy}")
    commands = [one.command for one in found if one.command]
    if commands:
        typer.echo("\nOr let an administrator run:")
        for command in commands:
            typer.echo(f"  {command}")
