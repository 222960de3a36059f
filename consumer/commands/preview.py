"""`pos-consumer preview`: what would become of the newest records; changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from rich.console import Console

    from consumer.stages.preview import Preview

RecordCount = Annotated[
    int,
    typer.Option(
        "--records", min=1, max=10_000, help="How many of the newest records to read."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of tables.")
]


def preview(
    context: typer.Context, records: RecordCount = 100, as_json: AsJson = False
) -> None:
    """Show what the newest purchases would become, down to the rows for Target.

    Joins no consumer group, commits nothing, writes nothing and sends nothing. Profiles
    hold the records read only, as if there had been none before.
    """
    import json
    from dataclasses import asdict
    from time import time

    from rich.console import Console

    from consumer.commands.reaching import reach
    from consumer.config import load_settings
    from consumer.kafka.excerpt import Excerpt
    from consumer.kafka.topics import MAX_RECORD_BYTES, RECORD_OVERHEAD
    from consumer.loading import load_plan
    from consumer.profiles.days import day_of
    from consumer.stages.preview import preview as work
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    configure_logging(settings.log)
    plan, schemas = load_plan(settings)
    reach(settings)
    with Excerpt(settings, settings.topics.source) as excerpt:
        found = excerpt.newest(records)
    largest = MAX_RECORD_BYTES - RECORD_OVERHEAD
    today = day_of(time(), plan.zone) if plan.zone else 0
    result = work(settings, plan, schemas, found, largest_record=largest, day=today)
    if as_json:
        typer.echo(json.dumps(asdict(result), ensure_ascii=False))
        return
    if not result.records:
        typer.echo(f"The topic {settings.topics.source} has no records yet.")
        return
    console = Console()
    _print_columns(console, result)
    _print_records(console, result)
    _print_profiles(console, result)
    typer.echo("The batch file:")
    typer.echo(result.header)
    for profile in result.profiles:
        if profile.line is not None:
            typer.echo(profile.line)


def _print_columns(console: Console, result: Preview) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("column", "type", "values", "null", "such as", title="Mapped columns")
    for one in result.columns:
        share = f"{one.nulls / one.values:.0%}" if one.values else ""
        such = Text(", ".join(one.examples))
        table.add_row(Text(one.name), Text(one.kind), str(one.values), share, such)
    console.print(table)


def _print_records(console: Console, result: Preview) -> None:
    from rich.table import Table
    from rich.text import Text

    from consumer.events.letters import iso

    counts = Counter(one.outcome for one in result.records)
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    table = Table("partition", "offset", "time", "became", "why", title="Records")
    for one in result.records:
        why = Text(": ".join(filter(None, (one.reason, one.sentence))))
        place = (str(one.partition), str(one.offset))
        table.add_row(*place, iso(one.timestamp), one.outcome, why)
    console.print(table)
    typer.echo(f"{len(result.records)} records: {said}.")


def _print_profiles(console: Console, result: Preview) -> None:
    """Print what Target would get of each visitor, a line an attribute."""
    from rich.table import Table
    from rich.text import Text

    table = Table("visitor", "attribute", "value", title="Profiles")
    for profile in result.profiles:
        visitor = profile.visitor
        if profile.rejected:
            table.add_row(Text(visitor), "", Text(f"not sent: {profile.rejected}"))
            visitor = ""
        for name, value in profile.attributes.items():
            shown = Text("(nothing to send)" if value is None else value)
            table.add_row(Text(visitor), name, shown)
            visitor = ""
        table.add_section()
    console.print(table)
