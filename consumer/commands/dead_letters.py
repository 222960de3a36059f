"""`pos-consumer dead-letters list|show`: what was refused, and why; and `replay`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.dead_letters_replay import replay
from consumer.commands.letter_filter import (
    LetterFilter,
    Partitions,
    Reasons,
    Since,
    Until,
    open_letters,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

    from consumer.config import Settings
    from consumer.events.letters import Letter

app = typer.Typer(
    name="dead-letters",
    help="Look at the records that are no events, and replay what has been mended.",
    no_args_is_help=True,
)
app.command()(replay)

HEX_BYTES = 32  # a line
MOST_HEX = 4_096

Examples = Annotated[
    int, typer.Option(min=0, help="How many examples of each reason to show.")
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print each dead letter as one JSON object a line, whole: key, value and "
        "headers in base64. This is the export.",
    ),
]


@dataclass(slots=True)
class Group:
    """The dead letters of one reason: how many, when, where, and the first ones."""

    count: int = 0
    partitions: set[int] = field(default_factory=set)
    times: list[int] = field(default_factory=list)
    examples: list[Letter] = field(default_factory=list)

    def add(self, letter: Letter, examples: int) -> None:
        """Count one more; keep it if there are fewer than `examples`."""
        self.count += 1
        self.partitions.add(letter.partition)
        at = letter.refused_at
        self.times = [min([at, *self.times]), max([at, *self.times])]
        if len(self.examples) < examples:
            self.examples.append(letter)


@app.command("list")
def list_letters(
    context: typer.Context,
    reason: Reasons = None,
    partition: Partitions = None,
    since: Since = None,
    until: Until = None,
    examples: Examples = 3,
    as_json: AsJson = False,
) -> None:
    """Count the dead letters by reason, and show the first of each."""
    import json

    settings = settings_of(context)
    meant = LetterFilter.of(reason, partition, since, until)
    groups: dict[str, Group] = {}
    with open_letters(settings) as excerpt:
        for letter in meant.read(excerpt):
            if as_json:
                typer.echo(json.dumps(letter.as_json(), ensure_ascii=False))
            else:
                groups.setdefault(letter.reason, Group()).add(letter, examples)
    if not as_json:
        _print_groups(groups)


@app.command()
def show(
    context: typer.Context,
    partition: Annotated[int, typer.Argument(help="The dead letter's partition.")],
    offset: Annotated[
        int, typer.Argument(help="Its offset in the topic of dead letters.")
    ],
) -> None:
    """Show one dead letter: origin, headers, and its value as far as it decodes."""
    from consumer.commands.tables import console
    from consumer.errors import PosConsumerError
    from consumer.events.letters import letters

    settings = settings_of(context)
    with open_letters(settings) as excerpt:
        known = partition in excerpt.partitions()
        found = excerpt.one(partition, offset) if known else None
    if found is None:
        raise PosConsumerError(
            f"There is no dead letter at partition {partition}, offset {offset}.",
            "`pos-consumer dead-letters list` names partitions and offsets.",
        )
    (letter,) = letters(found)
    console().print(_facts(letter))
    for line in _value(settings, letter):
        typer.echo(line)


def _print_groups(groups: Mapping[str, Group]) -> None:
    """Print a row a reason, and below it the first ones, a line each."""
    from rich.table import Column, Table

    from consumer.commands.tables import console, span
    from consumer.profiles.readable import moment

    if not groups:
        typer.echo("There are no such dead letters.")
        return
    ordered = sorted(groups.items(), key=lambda one: (-one[1].count, one[0]))
    counts = Table(
        *(Column(name, no_wrap=True) for name in ("reason", "count")),
        "partitions",
        Column("refused", no_wrap=True),
    )
    for reason, group in ordered:
        numbers = ", ".join(map(str, sorted(group.partitions)))
        times = span(*(moment(at * 1000) for at in group.times))
        counts.add_row(reason, f"{group.count:,}", numbers, times)
    console().print(counts)
    if not any(group.examples for group in groups.values()):
        return
    for reason, group in ordered:
        typer.echo(f"{reason}, partition and offset:")
        for one in group.examples:
            sentence = "" if one.kept is None else one.kept.sentence
            typer.echo(f"  {one.partition} {one.offset}  {sentence}".rstrip())
    typer.echo("`pos-consumer dead-letters show PARTITION OFFSET` shows one.")


def _facts(letter: Letter) -> Table:
    """Lay out what is known of a dead letter, its own headers last."""
    from rich.table import Table
    from rich.text import Text

    from consumer.events.letters import iso

    table = Table("dead letter", f"partition {letter.partition}, {letter.offset}")
    rows = {"refused at": iso(letter.refused_at)}
    if (kept := letter.kept) is not None:
        rows |= {
            "reason": kept.reason,
            "sentence": kept.sentence,
            "origin": f"{kept.topic}, partition {kept.partition}, offset {kept.offset}",
            "topic id": kept.topic_id,
            "timestamp": iso(kept.timestamp),
            "schema id": "none" if kept.schema_id is None else str(kept.schema_id),
            "refused by version": kept.version,
        }
        if kept.whole_bytes is not None:
            rows["cut"] = f"{kept.whole_bytes} bytes before, sha256 {kept.whole_sha256}"
    rows["key"] = _readable(letter.key)
    rows |= {f"header {name}": _readable(text) for name, text in letter.headers}
    for name, text in rows.items():
        table.add_row(Text(name), Text(text))
    return table


def _readable(data: bytes | None) -> str:
    """Write bytes as text where they are text, in hex otherwise."""
    if data is None:
        return "null"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"hex {data.hex(' ')}"
    return text if text.isprintable() else f"hex {data.hex(' ')}"


def _value(settings: Settings, letter: Letter) -> Iterator[str]:
    """Decode the value as far as it goes; what does not decode is shown in hex."""
    value = letter.value
    if not value:
        yield "The value is null." if value is None else "The value has no bytes."
        return
    left = value
    if (read := _salvaged(settings, letter, value)) is not None:
        fields, end, left = read
        yield from fields
        yield end
    elif letter.kept is not None and letter.kept.schema_id is not None:
        yield f"Schema {letter.kept.schema_id} is not at hand: the value in hex."
    shown = left[:MOST_HEX]
    for place in range(0, len(shown), HEX_BYTES):
        yield shown[place : place + HEX_BYTES].hex(" ")
    if len(left) > MOST_HEX:
        yield f"and {len(left) - MOST_HEX} more bytes; `list --json` has them all."


def _salvaged(
    settings: Settings, letter: Letter, value: bytes
) -> tuple[list[str], str, bytes] | None:
    from consumer.errors import RegistryUnreachable, SchemaError
    from consumer.events.codecs import Codec
    from consumer.events.framing import FRAME, HEADER, Header, Prefix
    from consumer.events.salvage import salvage
    from consumer.loading import schemas_of

    if letter.kept is None or letter.kept.schema_id is None:
        return None
    try:
        schemas = schemas_of(settings)
        codec = schemas.codec(letter.kept.schema_id)
    except (SchemaError, RegistryUnreachable):
        return None
    if not isinstance(codec, Codec):
        return None
    framed = isinstance(schemas.framing, Prefix) or (
        isinstance(schemas.framing, Header)
        and all(name != HEADER for name, _ in letter.headers)
    )
    found = salvage(codec, value if framed else bytes(FRAME) + value)
    fields = [f"{name} = {field!r}" for name, field in found.fields.items()]
    if found.stopped_at is not None:
        end = f"Not decoded from {found.stopped_at} on: {found.why}. What is left:"
    elif found.left:
        end = f"{len(found.left)} bytes follow the last field:"
    else:
        end = "All fields decode."
    return fields, end, found.left
