"""What a configuration says of purchases: their schemas, and the plan to fold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.events.framing import Header, Prefix
from consumer.events.json_codec import JsonCodec
from consumer.events.registered import RegisteredSchemas, cache_folder
from consumer.events.schemas import OneSchema, SchemaFolder, read_codec
from consumer.kafka.registry import Registry
from consumer.plan.compile import Plan, compile_plan
from consumer.profiles.rows import check_rendering

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.events.decode import Codec, Schemas


def load_plan(settings: Settings) -> tuple[Plan, Schemas]:
    """Compile the configuration against the newest schema.

    Reads files only, unless a schema registry is configured.
    """
    schemas = schemas_of(settings)
    _, codec = schemas.newest()
    return checked_plan(settings, codec), schemas


def schemas_of(settings: Settings) -> Schemas:
    """Give the source of writer schemas that is configured."""
    purchases = settings.purchases
    if purchases.format == "json":
        codec = JsonCodec(purchases.columns)
        return OneSchema(codec, "[purchases.columns]", is_json=True)
    if purchases.schema_file is not None:
        file = purchases.schema_file
        return OneSchema(read_codec(file), f"The schema {file}")
    framing = Header() if purchases.schema_id == "header" else Prefix()
    if purchases.schema_registry is None:
        return SchemaFolder(purchases.schemas, framing)
    folder = cache_folder(
        settings.aggregate.state_dir, purchases.schema_registry, purchases.subject
    )
    registry = Registry(purchases.schema_registry, purchases.registry)
    return RegisteredSchemas(registry, purchases.subject, folder, framing=framing)


def checked_plan(settings: Settings, codec: Codec) -> Plan:
    """Compile the configuration against one schema and try what it renders."""
    plan = compile_plan(settings, codec.sample_frame())
    for attribute in plan.attributes:
        check_rendering(attribute)
    return plan
