"""Where a run of the service works: a folder with its configuration and schemas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from consumer.sandbox.accumulators import DEMO_ATTRIBUTES
from consumer.sandbox.ports import free_port
from consumer.sandbox.purchases.encode import values
from consumer.sandbox.purchases.foreign import (
    RECEIPT,
    avro_values,
    json_values,
    read_avro,
    read_json,
)
from consumer.sandbox.purchases.read_back import read_back
from consumer.sandbox.purchases.registered import register
from consumer.sandbox.purchases.schema import SCHEMA, write_schema_folder
from consumer.sandbox.recount import Recount, recount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from consumer.sandbox.purchases.generate import Encode

SCHEMA_ID: Final = 1
SCHEMAS: Final = """\
schemas = "schemas"                  # writer schemas, in files named by schema id"""
REGISTRY: Final = """\
schema_registry = "@registry@"
schema_grace = "1s"                  # the generator's unknown ids are never registered\
"""


@dataclass(frozen=True, slots=True)
class Records:
    """How purchases are written: the configuration for them, and how to read them."""

    name: str
    config: str = "demo.toml"
    settings: str = SCHEMAS
    schema: str = SCHEMA
    schema_id: int = SCHEMA_ID
    encode: Encode = values
    read: Callable[[bytes, Mapping[int, Any]], dict[str, Any]] | None = None


JSON_SETTINGS = """\
format = "json"
[purchases.columns]
id = "string"
kind = "string"
customer = { loyalty_id = "string", tier = "string" }
closed_at = "timestamp"
shop = { number = "string", till = "string" }
total = "decimal(12, 2)"
[[purchases.columns.lines]]
Article = { sku = "string", department = "string", pieces = "long" }
Weighed = { plu = "string", department = "string", portions = "long" }
"""
OWN = Records("purchases")
FOREIGN = (
    Records(
        "receipts",
        "foreign.toml",
        schema=RECEIPT,
        encode=avro_values,
        read=read_avro,
    ),
    Records(
        "json-receipts",
        "foreign.toml",
        JSON_SETTINGS,
        schema=RECEIPT,
        encode=json_values,
        read=read_json,
    ),
)


@dataclass(frozen=True, slots=True)
class Work:
    """A folder, the configuration in it, and the service's HTTP port."""

    folder: Path
    config: Path
    port: int

    @property
    def log(self) -> Path:
        """The service's log."""
        return self.folder / "service.log"


def configure(  # noqa: PLR0913 - what differs from run to run
    folder: Path,
    *,
    bootstrap: str,
    endpoint: str,
    application: str,
    topic: str,
    more: str = "",
    records: Records = OWN,
) -> Work:
    """Write the demo's configuration to `folder`, with the TOML `more` behind it."""
    port = free_port()
    text = (files(__package__) / records.config).read_text(encoding="utf-8")
    values = {
        "records": records.settings,
        "bootstrap": bootstrap,
        "endpoint": endpoint,
        "application": application,
        "topic": topic,
        "port": str(port),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "pos-consumer.toml"
    config.write_text(f"{text}{more}", encoding="utf-8")
    write_schema_folder(folder / "schemas", records.schema_id, records.schema)
    return Work(folder, config, port)


def registered(records: Records, registry: str) -> Records:
    """Let a registry have the schema that stood in a file; JSON needs none."""
    if records.settings != SCHEMAS:
        return records
    return replace(
        records,
        settings=REGISTRY.replace("@registry@", registry),
        schema_id=register(registry, f"{records.name}-value", records.schema),
    )


def recount_topic(bootstrap: str, topic: str, records: Records = OWN) -> Recount:
    """Recount a whole topic by the demo's attributes; slow, and shares no code."""
    return recount(
        read_back(bootstrap, topic),
        DEMO_ATTRIBUTES,
        {records.schema_id: records.schema},
        event_of=records.read,
    )
