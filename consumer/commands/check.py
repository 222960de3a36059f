"""`pos-consumer check`: whether the configuration is right, against the schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.events.decode import Codec
    from consumer.plan.compile import Plan

SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="Check against this Avro schema instead of the newest in the folder or "
        "registry that [purchases] names.",
    ),
]
ShowPlan = Annotated[
    bool, typer.Option("--plan", help="Print what each batch of events goes through.")
]


def check(
    context: typer.Context, schema: SchemaFile = None, show_plan: ShowPlan = False
) -> None:
    """Check the configuration and its expressions against the schema.

    Without a network, unless a schema registry is configured.
    """
    from consumer.config import load_settings
    from consumer.kafka.clients import check_options
    from consumer.loading import checked_plan

    settings = load_settings(config_file(context))
    check_options(settings.kafka)
    name, codec = _from_file(schema) if schema else _newest(settings)
    plan = checked_plan(settings, codec)
    path = "fast" if codec.fast else "safe"
    typer.echo(
        f"The configuration is right. Attributes: {', '.join(settings.attributes)}; "
        f"checked against {name}, which the {path} codec reads."
    )
    for note in _absent(settings):
        typer.echo(f"Note: {note}")
    for warning in [*plan.warnings, *_warnings(settings, plan, codec)]:
        typer.echo(f"Warning: {warning}", err=True)
    if show_plan:
        typer.echo("\n".join(plan.describe(settings.purchases)))


def _absent(settings: Settings) -> list[str]:
    """Name secrets whose file is not here: right where they lie elsewhere."""
    target = settings.target
    secrets = {
        "target.token": target.token,
        "purchases.pseudonym_key": settings.purchases.pseudonym_key,
    }
    return [
        f"{key}: there is no file {secret.file} here; a start needs it."
        for key, secret in secrets.items()
        if secret is not None and secret.file is not None and not secret.file.exists()
    ]


def _warnings(settings: Settings, plan: Plan, codec: Codec) -> list[str]:
    """Say what is allowed, and hardly meant."""
    from consumer.events.takebacks import takebacks

    columns = codec.decode(codec.sample()).columns
    warnings = [str(one) for one in takebacks(plan, codec.type, columns)]
    if settings.target.key == "pcId" and settings.target.api == "v2":
        warnings.append(
            'target.key = "pcId" goes with v2 only where the site has no Experience '
            'Cloud ID; where it has one, set target.api = "v1".'
        )
    return warnings + [
        f"attributes.{one.name} has no value while its window is empty, and Target "
        "would keep the last one; give it a `sentinel`."
        for one in plan.attributes
        if one.window and one.aggregate in {"min", "max"} and one.sentinel is None
    ]


def _from_file(path: Path) -> tuple[str, Codec]:
    from consumer.events.schemas import read_codec

    return str(path), read_codec(path)


def _newest(settings: Settings) -> tuple[str, Codec]:
    """Return the newest schema; of a folder, read them all, so that each is checked."""
    from consumer.events.schemas import SchemaFolder
    from consumer.loading import schemas_of

    schemas = schemas_of(settings)
    if not isinstance(schemas, SchemaFolder):
        newest, codec = schemas.newest()
        name = schemas.name(newest)
        return name[:1].lower() + name[1:], codec
    for schema_id in schemas.ids():
        schemas.codec(schema_id)
    newest, codec = schemas.newest()
    return f"{settings.purchases.schemas / str(newest)}.avsc", codec
