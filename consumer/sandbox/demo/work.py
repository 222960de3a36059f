"""Where a run of the service works: a folder with its configuration and schemas."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from consumer.sandbox.accumulators import DEMO_ATTRIBUTES
from consumer.sandbox.ports import free_port
from consumer.sandbox.purchases.read_back import read_back
from consumer.sandbox.purchases.schema import SCHEMA, write_schema_folder
from consumer.sandbox.recount import Recount, recount

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_ID = 1


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
) -> Work:
    """Write the demo's configuration to `folder`, with the TOML `more` behind it."""
    port = free_port()
    text = (files(__package__) / "demo.toml").read_text(encoding="utf-8")
    values = {
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
    write_schema_folder(folder / "schemas", SCHEMA_ID)
    return Work(folder, config, port)


def recount_topic(bootstrap: str, topic: str) -> Recount:
    """Recount a whole topic by the demo's attributes; slow, and shares no code."""
    return recount(read_back(bootstrap, topic), DEMO_ATTRIBUTES, {SCHEMA_ID: SCHEMA})
