"""`pos-consumer init`: looks at a topic and writes a configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.config import Settings
    from consumer.events.avro_types import Type
    from consumer.events.decode import Schemas
    from consumer.events.survey import Framed, Guesses
    from consumer.frames import Records


def init(
    context: typer.Context,
    topic: Annotated[str, typer.Option(help="The topic with the purchase events.")],
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            help="Kafka's address, in place of the one that the environment or the "
            "[kafka] of --config has; localhost:9092 without any."
        ),
    ] = None,
    schema_registry: Annotated[
        str | None, typer.Option(help="The address of a schema registry.")
    ] = None,
    schemas: Annotated[
        Path | None,
        typer.Option(help="A folder of Avro schemas named by id: 7.avsc."),
    ] = None,
    schema_file: Annotated[
        Path | None, typer.Option(help="The schema of plain Avro records.")
    ] = None,
    client: Annotated[str, typer.Option(help="The client code at Target.")] = "acme",
    output: Annotated[
        Path, typer.Option(help="The file to write; it must not be there.")
    ] = Path("pos-consumer.toml"),
    records: Annotated[
        int, typer.Option(help="How many of the newest records to look at.", min=1)
    ] = 200,
) -> None:
    """Look at a topic and its schema, and write a commented configuration.

    Joins no consumer group and writes nothing but the file. What it finds are guesses:
    read the file, correct it, then run `check` and `preview`. Kafka and the registry
    are reached as the service reaches them: by POS_CONSUMER__KAFKA__SASL_USERNAME and
    its like, or by [kafka] and [purchases.registry] in a file that `--config` names,
    which need not hold anything else.
    """
    from consumer.commands.init_connection import connection
    from consumer.commands.reaching import reach
    from consumer.config import DEFAULT_CONFIG_FILE
    from consumer.errors import ConfigurationError
    from consumer.events.survey import framed
    from consumer.kafka.excerpt import Excerpt
    from consumer.telemetry.logging import configure_logging

    if output.exists():
        allowed = "expected a file that is not there yet; name another one, or move it"
        raise ConfigurationError("--output", str(output), allowed)
    given = config_file(context)
    if given is not None and given.absolute() == output.absolute():
        given = None  # POS_CONSUMER_CONFIG may name what is about to be written
    kafka, registry = connection(given, bootstrap_servers)
    purchases: dict[str, Any] = {"topic": topic, "registry": registry}
    sources = {
        "schema_registry": schema_registry,
        "schemas": schemas,
        "schema_file": schema_file,
    }
    purchases |= {name: value for name, value in sources.items() if value is not None}
    settings = _settings(kafka, purchases)
    configure_logging(settings.log)
    reach(settings)
    with Excerpt(settings, topic) as excerpt:
        found = excerpt.newest(records)
    how = framed(found)
    purchases |= _format(how, found)
    settings = _settings(kafka, purchases)
    of, sample = _decoded(settings, found)
    text = _written(settings, purchases, of, sample, found, client=client, how=how)
    _check(text, output)
    output.write_text(text, encoding="utf-8")
    named = "" if output == DEFAULT_CONFIG_FILE else f" --config {output}"
    typer.echo(
        f"Looked at {len(found)} records and wrote {output}. Read it: what it says of "
        f"your fields are guesses. Then, each as `pos-consumer{named} …`: check, "
        "topics create, doctor, preview, run."
    )


def _settings(kafka: Mapping[str, Any], purchases: Mapping[str, Any]) -> Settings:
    from pydantic import ValidationError

    from consumer.config import Settings
    from consumer.config.problems import translate

    table = {
        "kafka": dict(kafka),
        "purchases": dict(purchases),
        "target": {"client": "acme"},
        "attributes": {"orders": {"aggregate": "count"}},
        "aggregate": {"state_dir": "state"},
    }
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise translate(error, Settings, {}, [table]) from error


def _format(how: Framed | None, records: Records) -> dict[str, Any]:
    """Say in settings how records are written."""
    import json

    from consumer.errors import SchemaError
    from consumer.events.framing import FRAME
    from consumer.events.survey import inferred

    if how is None or how.how == "prefix":
        return {}
    if how.how == "header":
        return {"schema_id": "header"}
    if how.how == "bare":
        return {}
    objects = []
    for value in records.values:
        text = value or b""
        try:
            found = json.loads(text[FRAME:] if text[:1] == b"\0" else text)
        except ValueError:
            continue
        if isinstance(found, dict):
            objects.append(found)
    columns = inferred(objects)
    if not columns:
        raise SchemaError("The JSON objects have no fields.", "Look at more --records.")
    return {"format": "json", "columns": columns}


def _decoded(settings: Settings, records: Records) -> tuple[Type, list[dict[str, Any]]]:
    """Decode the newest schema's records, for what their values tell."""
    from contextlib import suppress

    import numpy as np

    from consumer.errors import RegistryUnreachable, SchemaError
    from consumer.events.resolve import WHOLE, Unfit, resolution
    from consumer.frames import Verdicts
    from consumer.loading import schemas_of
    from consumer.packed import Packed

    schemas: Schemas = schemas_of(settings)
    _, codec = schemas.newest()
    verdicts = Verdicts.of(len(records))
    packed = Packed.of(records.values)
    numbers = schemas.framing.ids(records, packed, verdicts)
    sample: list[dict[str, Any]] = []
    for number in dict.fromkeys(numbers.tolist()):
        if number == -1:
            continue
        try:
            written = schemas.codec(schemas.framing.schema_id(number))
        except (SchemaError, RegistryUnreachable):
            continue
        if written is not None:
            rows = np.flatnonzero(numbers == number)
            values = schemas.framing.framed(packed, rows)
            columns = written.decode(values).columns
            with suppress(Unfit):
                made = resolution(codec.type, written.type, WHOLE)
                columns, _ = made.apply(columns)
            sample += _rows(columns)
    return codec.type, sample


def _rows(columns: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a record batch
    import polars as pl

    return pl.DataFrame(columns).to_dicts()


def _written(
    settings: Settings,
    purchases: Mapping[str, Any],
    of: Type,
    sample: Sequence[dict[str, Any]],
    records: Records,
    *,
    client: str,
    how: Framed | None,
) -> str:
    from consumer.commands.init_connection import kafka_lines, registry_lines
    from consumer.events.survey import guesses, leaves, values
    from consumer.plan.fields import written

    guess = guesses(of, sample, records.keys)
    keyed = _keyed(records, values(sample, guess.visitor_id), len(sample))
    nulls = len(sample) - len(values(sample, guess.visitor_id))
    lines = [
        "# Written by `pos-consumer init`, from what it found: read it, correct it.",
        "# Every key: docs/configuration.md. Every aggregate: docs/attributes.md.",
        'application = "pos-consumer"',
        "",
        *kafka_lines(settings),
        "[purchases]",
        f'topic = "{settings.purchases.topic}"',
        _keys(keyed=keyed, known=bool(sample)),
        *_source(purchases, how),
    ]
    if guess.visitor_id and nulls:
        lines.append(
            f'without_visitor = "filter"     # {nulls} of {len(sample)} had none; '
            '"dead_letter" keeps them'
        )
    lines += [*registry_lines(settings), *_columns(purchases), ""]
    lines += ["# The fields there are, as expressions read them:"]
    lines += [f"#   {written(name):32} {one.arrow}" for name, one in leaves(of)]
    lines += ["[purchases.fields]", *_fields(guess), "", *_attributes(of, guess)]
    lines += ["[target]", f'client = "{client}"', ""]
    return "\n".join(lines)


def _keys(*, keyed: bool, known: bool) -> str:
    word = "visitor" if keyed else "other"
    return f'key = "{word}"      # {_about_keys(keyed=keyed, known=known)}'


def _about_keys(*, keyed: bool, known: bool) -> str:
    if not known:
        return 'no record was there to tell; "other" if keys are not visitors'
    return "keys are visitors" if keyed else "keys are no visitors: rekeyed first"


def _keyed(records: Records, visitors: Sequence[Any], count: int) -> bool:
    """Tell whether keys look like visitors; with nothing to see they do."""
    keys = {key for key in records.keys if key}
    named = {str(one).encode() for one in visitors}
    return not count or not named or len(named & keys) * 2 > len(named)


def _source(purchases: Mapping[str, Any], how: Framed | None) -> list[str]:
    keys = ("schema_registry", "schemas", "schema_file", "schema_id", "format")
    lines = [f'{name} = "{purchases[name]}"' for name in keys if name in purchases]
    if how is None:
        lines.append(
            "# the topic has no records yet; `schema_id` and `format` are guesses"
        )
    return lines


def _columns(purchases: Mapping[str, Any]) -> list[str]:
    if "columns" not in purchases:
        return []
    lines = [
        "",
        "[purchases.columns]             # what is listed is read; see the types",
    ]
    lines += [
        f"{_key(name)} = {_toml(column)}"
        for name, column in purchases["columns"].items()
    ]
    return lines


def _key(name: str) -> str:
    import json
    import re

    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(column: Any) -> str:  # noqa: ANN401 - a column's type
    if isinstance(column, str):
        return f'"{column}"'
    if isinstance(column, list):
        return f"[{_toml(column[0])}]"
    inner = ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in column.items())
    return f"{{ {inner} }}"


def _sql(guessed: str, more: str = "") -> str:
    """Write a guess as an expression, in TOML: a name is quoted where SQL needs it."""
    import json
    import re

    from consumer.plan.fields import written

    text = (written(guessed) if re.fullmatch(r"[\w.]+", guessed) else guessed) + more
    return f"'{text}'" if '"' in text and "'" not in text else json.dumps(text)


def _fields(guess: Guesses) -> list[str]:
    lines = []
    for name in ("event_id", "visitor_id", "event_time", "items"):
        expression = getattr(guess, name)
        if expression:
            why = "              # the keys of the records are these"
            told = why if name == "visitor_id" and guess.keyed else ""
            lines.append(f"{name} = {_sql(expression)}{told}")
        elif name != "items":
            lines.append(f'{name} = "TODO"              # nothing looks like it')
        if name == "event_time" and guess.unit:
            lines.append(f'event_time_unit = "{guess.unit}"')
    return lines


def _attributes(of: Type, guess: Guesses) -> list[str]:
    from consumer.events.survey import item_type, leaves

    named = dict(leaves(of))
    where = []
    if guess.kind:
        symbols = named[guess.kind].symbols
        shown = f"'{symbols[0]}'" if symbols else "'SALE'"
        about = f" # one of {', '.join(symbols)}" if symbols else ""
        mark = "" if symbols else "# "
        where = [f"{mark}where = {_sql(guess.kind, f' = {shown}')}{about}"]
    lines = ["[attributes.orders]", 'aggregate = "count"', *where, ""]
    if guess.event_time and not guess.unit and named[guess.event_time].logical:
        lines += ["[attributes.last_purchase]", 'aggregate = "last"']
        lines += [f"of = {_sql(guess.event_time)}", *where, 'format = "date"', ""]
    if guess.money:
        lines += ["[attributes.revenue]", 'aggregate = "sum"']
        whole = guess.money in named and named[guess.money].logical != "decimal"
        about = "        # whole numbers: cents? then render" if whole else ""
        lines += [f"of = {_sql(guess.money)}{about}", *where, ""]
    if guess.items and guess.group:
        below = {n for n, _ in leaves(item_type(named[guess.items]))}
        by = next((n for n in ("quantity", "pieces", "count") if n in below), "")
        lines += ["[attributes.favourite]", 'aggregate = "top"', 'from = "items"']
        lines += [f"of = {_sql(guess.group)}", *([f'by = "{by}"'] if by else [])]
        lines += ['sentinel = "none"', ""]
    return lines


def _check(text: str, output: Path) -> None:
    """Hold what was written to what `check` demands, as far as it was found."""
    import tempfile

    from consumer.config import load_settings
    from consumer.errors import PosConsumerError
    from consumer.loading import load_plan

    if "TODO" in text:
        return
    folder = output.absolute().parent
    with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=folder) as draft:
        draft.write(text)
        draft.flush()
        try:
            load_plan(load_settings(Path(draft.name)))
        except PosConsumerError as error:
            typer.echo(f"Mind: the draft needs a hand. {error}", err=True)
