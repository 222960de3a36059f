"""Whether the schemas of records can be had: the source answers, and knows each id."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.framing import UNREADABLE
from consumer.events.registered import RegisteredSchemas
from consumer.frames import Verdicts
from consumer.packed import Packed
from consumer.stages.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.events.decode import Schemas
    from consumer.frames import Records

SUBJECT: Final = "schemas"
UNSAID_SHARE: Final = 0.5
"""Of the newest records; fewer may be broken, more are written in another way."""


def look_at_schemas(
    source: Callable[[], Schemas], records: Records | None
) -> Iterator[Finding]:
    """Ask for the newest schema, and for those that `records` name, if there are any.

    `source` opens the source of schemas, which may fail as its answers may.
    """
    try:
        schemas = source()
        newest, _ = schemas.newest()
        name = schemas.name(newest)
    except (SchemaError, RegistryUnreachable) as error:
        yield _failed(error)
        return
    yield Finding(SUBJECT, f"{name} can be read; expressions are checked against it.")
    if records is not None and len(records):
        yield from _named(schemas, records)


def _named(schemas: Schemas, records: Records) -> Iterator[Finding]:
    verdicts = Verdicts.of(len(records))
    packed = Packed.of(records.values)
    numbers = Counter(schemas.framing.ids(records, packed, verdicts).tolist())
    unsaid, count = verdicts.dead_letters, f"the newest {len(records):,} records"
    if len(unsaid) > UNSAID_SHARE * len(records):
        yield Finding(
            SUBJECT,
            f"{len(unsaid):,} of {count} do not say their schema: {unsaid[0].sentence}",
            "Say how they are written: [purchases] schema_id, schema_file or format.",
        )
    numbers.pop(UNREADABLE, None)
    fine = 0
    for number, of_them in sorted(numbers.items()):
        schema_id = schemas.framing.schema_id(number)
        try:
            there = schemas.codec(schema_id) is not None
        except (SchemaError, RegistryUnreachable) as error:
            yield _failed(error)
            continue
        fine += there
        if not there:
            yield Finding(
                SUBJECT,
                f"{of_them:,} of {count} name schema {schema_id}, which is not known.",
                "Register it; else they are dead letters (unknown_schema) once "
                "[purchases] schema_grace is over."
                if isinstance(schemas, RegisteredSchemas)
                else f"Put its file, {schema_id}.avsc, into the folder of schemas; "
                "else they are dead letters (unknown_schema).",
            )
    if fine and fine == len(numbers):
        what = f"{fine:,} schemas are named" if fine > 1 else "One schema is named"
        yield Finding(SUBJECT, f"{what} by {count}, and can be read.")


def _failed(error: SchemaError | RegistryUnreachable) -> Finding:
    return Finding(SUBJECT, error.what, error.remedy or "See the message.")
