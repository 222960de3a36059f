"""`pos-consumer preview`: what would become of the newest records; changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from rich.console import Console

    from consumer.stages.preview import Became, Preview

MOST: Final = {"columns": 20, "profiles": 3}
"""What is shown of each without `--all`."""

RecordCount = Annotated[
    int,
    typer.Option(
        "--records", min=1, max=10_000, help="How many of the newest records to read."
    ),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Show every record, column and profile.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of tables.")
]


def preview(
    context: typer.Context,
    records: RecordCount = 100,
    everything: Everything = False,
    as_json: AsJson = False,
) -> None:
    """Show what the newest purchases would become, down to the rows for Target.

    Joins no consumer group, commits nothing, writes nothing and sends nothing. Profiles
    hold the records read only, as if there had been none before.
    """
    import json
    from dataclasses import asdict
    from time import time

    from consumer.commands.reaching import reach
    from consumer.commands.tables import console
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
    print_preview(console(), result, everything=everything)


def print_preview(on: Console, result: Preview, *, everything: bool) -> None:
    """Print what became of the records, then columns, profiles and their lines."""
    _print_outcomes(on, result)
    if everything:
        _print_records(on, result)
    _print_columns(on, result, None if everything else MOST["columns"])
    _print_profiles(on, result, None if everything else MOST["profiles"])


def _print_outcomes(on: Console, result: Preview) -> None:
    """Print how many records became what, and each reason once, with an example."""
    from rich.table import Table
    from rich.text import Text

    counts = Counter(one.outcome for one in result.records)
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    typer.echo(f"{len(result.records)} records: {said}.")
    kinds: dict[tuple[str, str], list[Became]] = {}
    for one in result.records:
        if one.reason or one.sentence:
            kinds.setdefault((one.outcome, one.reason), []).append(one)
    if not kinds:
        return
    table = Table("records", "became", "why, such as", title="Not just folded")
    for (outcome, reason), alike in sorted(kinds.items(), key=lambda k: -len(k[1])):
        one = alike[0]
        place = f"(partition {one.partition}, offset {one.offset})"
        why = ": ".join(filter(None, (reason, one.sentence)))
        table.add_row(str(len(alike)), outcome, Text(f"{why} {place}"))
    on.print(table)


def _print_columns(on: Console, result: Preview, most: int | None) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("column", overflow="fold"),
        *(Column(name, no_wrap=True) for name in ("type", "values", "null")),
        Column("such as", overflow="fold"),
        title="Mapped columns",
    )
    for one in result.columns[:most]:
        share = f"{one.nulls / one.values:.0%}" if one.values else ""
        such = Text(", ".join(one.examples))
        table.add_row(Text(one.name), Text(one.kind), str(one.values), share, such)
    on.print(table)
    _print_left(len(result.columns), most, "columns")


def _print_records(on: Console, result: Preview) -> None:
    """Print a line a record; a sentence is written out the first time only."""
    from rich.table import Column, Table
    from rich.text import Text

    from consumer.profiles.readable import moment

    table = Table(
        *(Column(name, no_wrap=True) for name in ("at", "time", "became")),
        "why",
        title="Records",
    )
    said: set[tuple[str, str]] = set()
    for one in result.records:
        kind = (one.reason, one.sentence)
        why = one.reason if kind in said else ": ".join(filter(None, kind))
        said.add(kind)
        place = f"{one.partition}/{one.offset}"
        table.add_row(place, moment(one.timestamp * 1000), one.outcome, Text(why))
    on.print(table)


def _print_profiles(on: Console, result: Preview, most: int | None) -> None:
    """Print what Target would get of each visitor, a line an attribute."""
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        *(Column(name, overflow="fold") for name in ("visitor", "attribute", "value")),
        title="Profiles",
    )
    for profile in result.profiles[:most]:
        visitor = profile.visitor
        if profile.rejected:
            table.add_row(Text(visitor), "", Text(f"not sent: {profile.rejected}"))
            visitor = ""
        for name, value in profile.attributes.items():
            shown = Text("(nothing to send)" if value is None else value)
            table.add_row(Text(visitor), name, shown)
            visitor = ""
        table.add_section()
    on.print(table)
    typer.echo("The batch file:")
    typer.echo(result.header)
    for profile in result.profiles[:most]:
        if profile.line is not None:
            typer.echo(profile.line)
    _print_left(len(result.profiles), most, "profiles")


def _print_left(count: int, most: int | None, what: str) -> None:
    if most is not None and count > most:
        typer.echo(f"And {count - most} more {what}: --all shows them.")
