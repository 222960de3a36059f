"""`pos-consumer explain`: why a visitor has the values it has; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from consumer.config import Settings
    from consumer.stages.explain import Explained, Unknown
    from consumer.stages.explain_events import Event, Replayed

MOST_ROWS: Final = 50
MOST_VALUES: Final = 3  # of an attribute, of one purchase
WORDS: Final = {
    "delivered": "[green]yes[/]",
    "accepted": "[green]accepted[/]",
    "in_flight": "[yellow]on its way[/]",
    "waiting": "[yellow]not yet[/]",
    "rejected": "[red]rejected[/]",
}
COLOURS: Final = {
    "folded": "green",
    "duplicate": "yellow",
    "filtered": "dim",
    "dead_lettered": "red",
    "not_read_yet": "cyan",
}
WHY: Final = {
    "duplicate": "its event id had been seen before",
    "filtered": "there is nothing in it to count",
    "not_read_yet": "the service has not come to it",
}

Visitor = Annotated[str, typer.Argument(help="The visitor id, as Target knows it.")]
WithEvents = Annotated[
    bool,
    typer.Option(
        "--events",
        help="Also list the visitor's purchases with what became of each. Replays the "
        "partition, which takes about as long as the service took for it.",
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME",
        help="Only this attribute, and what each purchase gave to it in full; may be "
        "given several times.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="The id is written as the events have it, and hashed with "
        "purchases.pseudonym_key.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of tables.")
]


def explain(
    context: typer.Context,
    visitor: Visitor,
    events: WithEvents = False,
    attribute: Attributes = None,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Show why a visitor has the values it has, and whether Target has them.

    Reads topics and committed offsets only, so it works on any machine. Exit code 1 if
    there is no such visitor.
    """
    import json
    from dataclasses import asdict

    from consumer.commands.reaching import reach
    from consumer.commands.reading import Reading
    from consumer.commands.tables import console as console_of
    from consumer.config import load_settings
    from consumer.loading import load_plan
    from consumer.stages.explain import Explainer, Unknown
    from consumer.stages.explain_events import Replay
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    configure_logging(settings.log)
    for name in attribute or []:
        if name not in settings.attributes:
            raise typer.BadParameter(f"no attribute {name}", param_hint="--attribute")
    plan, schemas = load_plan(settings)
    key = visitor.encode()
    if raw:
        visitor = _pseudonym(settings, visitor)
    reach(settings)
    reading = Reading()
    replayed = None
    with Explainer(settings, plan, reading) as explainer:
        found = explainer.explain(visitor, key)
        if events and isinstance(found, Unknown):
            found = explainer.keyed(found, key)
        if events and found.partition is not None:
            replay = Replay(settings, plan, schemas, explainer, visitor, key=key)
            replayed = replay.run(found.partition, _read_up_to(found), explainer.stored)
    took = reading.close()
    if as_json:
        shown = {"known": not isinstance(found, Unknown), **asdict(found)}
        shown["events"] = None if replayed is None else asdict(replayed)
        typer.echo(json.dumps(shown, ensure_ascii=False, default=str))
    else:
        console = console_of(highlight=False)
        if isinstance(found, Unknown):
            _print_unknown(console, found, searched=events)
        else:
            _print_found(console, found, attribute)
        if replayed is not None:
            _print_events(console, replayed, attribute)
        console.print(f"[dim]{took}[/]")
    if isinstance(found, Unknown):
        raise typer.Exit(1)


def _pseudonym(settings: Settings, visitor: str) -> str:
    """Hash an id as the service does."""
    import polars as pl

    from consumer.plan.pseudonyms import Pseudonyms

    secret = settings.purchases.pseudonym_key
    if secret is None:
        why = "purchases.pseudonym_key is not set: ids are not hashed"
        raise typer.BadParameter(why, param_hint="--raw")
    found: str = Pseudonyms(secret).of(pl.Series([visitor])).item()
    return found


def _read_up_to(found: Explained | Unknown) -> int:
    """Give the offset that the service has folded up to, for certain."""
    profile = getattr(found, "profile", None)
    return max(
        found.next_offset or 0, 0 if profile is None else profile.source_offset + 1
    )


def _print_unknown(console: Console, found: Unknown, *, searched: bool) -> None:
    from rich.markup import escape

    console.print(
        f"[bold]{escape(found.visitor)}[/] has no profile: not in any of the "
        f"{found.partitions} partitions."
    )
    _print_erased(console, found)
    if not searched:
        console.print("With --events, its purchases are looked for as well.")
    elif found.partition is None:
        console.print("No purchase in the topic has it as its key, either.")
    else:
        console.print(f"Its purchases are in partition {found.partition}:")


def _print_erased(console: Console, found: Explained | Unknown) -> None:
    from consumer.profiles.readable import moment

    if found.erased_at is not None:
        console.print(
            f"Erased at {moment(found.erased_at * 1000)}: purchases that had happened "
            "by then no longer count."
        )


def _print_found(console: Console, found: Explained, names: list[str] | None) -> None:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from consumer.profiles.readable import day, moment

    newest, profile = found.versions[-1], found.profile
    written = moment(newest.written_at * 1000)
    visitor = f"[bold]{escape(found.visitor)}[/]"
    if profile is None:
        console.print(
            f"{visitor} had a profile, which was removed at {written} "
            f"(partition {found.partition}, offset {newest.offset})."
        )
        _print_erased(console, found)
        return
    table = Table("attribute", "Target gets", "made of", "by the rule")
    for one in profile.attributes:
        if names and one.name not in names:
            continue
        sent = (
            Text(one.sent, "bold") if one.sent is not None else Text("nothing", "dim")
        )
        table.add_row(Text(one.name), sent, Text(one.made_of), Text(one.rule, "dim"))
    console.print(
        f"{visitor}: version {profile.version} of its profile, written at {written}."
    )
    console.print(table)
    if found.delivery is not None:
        has = found.delivery.has
        state = WORDS[found.delivery.state]
        console.print(
            f"Does Target have it? {state}. {escape(found.delivery.sentence)}"
        )
        if has != profile.version:
            known = "none of the versions still in the topic"
            words = known if has is None else f"version {has}"
            console.print(f"What Target has for certain: {words}.")
        if found.delivery.batch_id is not None:
            console.print(f"Batch: {escape(found.delivery.batch_id)}")
    if profile.line is None:
        console.print(f"It cannot be sent: {profile.rejected}.")
    else:
        typer.echo(f"The batch file:\n{profile.header}\n{profile.line}")
    read = found.next_offset or 0
    behind = max(0, found.end - read)
    windows = (
        f"windows end with {day(profile.as_of_day)}; " if profile.as_of_day else ""
    )
    console.print(
        f"[dim]Partition {found.partition}; last purchase folded at offset "
        f"{profile.source_offset:,}; generation {profile.generation}; {windows}"
        f"the service has read up to {read:,}, {behind:,} from the end.[/]"
    )
    for note in found.notes:
        console.print(f"[yellow]{escape(note)}[/]")


def _print_events(
    console: Console, replayed: Replayed, names: list[str] | None
) -> None:
    from rich.markup import escape

    from consumer.commands.tables import NARROW

    events = replayed.events[-MOST_ROWS:]
    if console.width < NARROW:
        _list_events(console, events, names)
    elif events:
        console.print(_table_of(events, names))
    counts = replayed.counts
    counted = ", ".join(f"{counts[w]:,} {w}" for w in COLOURS if w in counts)
    total = sum(counts.values())
    console.print(f"{total:,} purchases of this visitor: {counted or 'none'}.")
    if len(replayed.events) > MOST_ROWS:
        console.print(f"The last {MOST_ROWS} are shown; --json has more.")
    if replayed.differing == []:
        console.print("[green]Replayed, they give exactly the stored profile.[/]")
    elif replayed.differing:
        differing = ", ".join(replayed.differing)
        console.print(
            f"[yellow]Replayed, they give other values than stored for: "
            f"{escape(differing)}. "
            "What they became is then what this configuration makes of what is still "
            "in the topic; an attribute that was added later began empty.[/]"
        )
    for note in replayed.notes:
        console.print(f"[yellow]{escape(note)}[/]")


def _table_of(events: Sequence[Event], names: list[str] | None) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    from consumer.profiles.readable import moment

    table = Table("offset", Column("event", overflow="fold"))
    for name in ("happened", "recorded", "became"):
        table.add_column(name, no_wrap=True)
    table.add_column("gave, or why not", overflow="fold")
    for one in events:
        happened = "" if one.event_time is None else moment(one.event_time)
        table.add_row(
            f"{one.offset:,}",
            Text(one.event_id or ""),
            happened,
            moment(one.recorded_at * 1000),
            Text(one.became, COLOURS.get(one.became, "")),
            Text(_why(one, names)),
        )
    return table


def _list_events(
    console: Console, events: Sequence[Event], names: list[str] | None
) -> None:
    """Print what the table would have, two lines an event."""
    from rich.text import Text

    from consumer.profiles.readable import moment

    for one in events:
        happened = (
            "" if one.event_time is None else f"happened {moment(one.event_time)}"
        )
        recorded = f"recorded {moment(one.recorded_at * 1000)}"
        times = ", ".join(filter(None, (happened, recorded)))
        became = Text(one.became, COLOURS.get(one.became, ""))
        console.print(f"offset {one.offset:,}", Text(one.event_id or ""), became)
        console.print(Text(f"  {times}"))
        if why := _why(one, names):
            console.print(Text(f"  {why}"))


def _why(event: Event, names: list[str] | None) -> str:
    """Say why it did not count, or what it gave; shortened unless it was asked for."""
    if event.reason:
        letter = event.letter
        where = "" if letter is None else f" (dead letter {letter[0]} {letter[1]})"
        return f"{event.reason}: {event.sentence}{where}"
    if event.became in WHY:
        return WHY[event.became]
    parts = []
    for name, values in event.gave.items():
        if names and name not in names:
            continue
        more = 0 if names else len(values) - MOST_VALUES
        words = ", ".join(values if more <= 0 else values[:MOST_VALUES])
        parts.append(f"{name} {words}" + (f" and {more} more" if more > 0 else ""))
    return "; ".join(parts)
