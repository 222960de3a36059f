"""How `init` reaches Kafka and the registry, and what of it a draft may hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from consumer.config import Secret, environment_name, partial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consumer.config import Settings


def connection(
    file: Path | None, bootstrap_servers: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give `[kafka]` and `[purchases.registry]` of a file and the environment.

    `bootstrap_servers` goes over both. Nothing else of the file is looked at.
    """
    found = partial(file)
    kafka = found.get("kafka", {})
    if bootstrap_servers is not None:
        kafka = {**kafka, "bootstrap.servers": bootstrap_servers}
    purchases = found.get("purchases", {})
    registry = purchases.get("registry", {}) if isinstance(purchases, dict) else {}
    return kafka, registry


def kafka_lines(settings: Settings) -> Iterator[str]:
    """Write the tables of Kafka's options, without secrets."""
    kafka = settings.kafka
    for table, options in (
        (("kafka",), kafka.common),
        (("kafka", "consumer"), kafka.consumer),
        (("kafka", "producer"), kafka.producer),
    ):
        if options:
            yield f"[{'.'.join(table)}]"
            for name, value in options.items():
                yield _line((*table, name), value)
            yield ""


def registry_lines(settings: Settings) -> Iterator[str]:
    """Write how the registry is reached, where that is said, without secrets."""
    given = settings.purchases.registry
    names = [
        name for name in type(given).model_fields if name in given.model_fields_set
    ]
    if names:
        yield ""
        yield "[purchases.registry]"
    for name in names:
        yield _line(("purchases", "registry", name), getattr(given, name))


def _line(path: tuple[str, ...], value: object) -> str:
    name = json.dumps(path[-1]) if "." in path[-1] else path[-1]
    if not isinstance(value, Secret):
        return f"{name} = {json.dumps(str(value), ensure_ascii=False)}"
    if value.file is not None:
        return f"{name} = {{ file = {json.dumps(str(value.file))} }}"
    variable = environment_name(*path)
    return f'# {name} is a secret: {variable}, or here {{ file = "path" }}'
