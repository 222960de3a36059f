"""Registers the purchases' schema, as producers do that have a schema registry."""

import json
import urllib.error
import urllib.request
from typing import Final

from consumer.errors import RegistryUnreachable, SandboxError
from consumer.sandbox.purchases.schema import SCHEMA

_SECONDS: Final = 10.0
_KIND: Final = "application/vnd.schemaregistry.v1+json"


def register(registry: str, subject: str, schema: str = SCHEMA) -> int:
    """Return the id under which a registry with Confluent's interface has a schema.

    Raises `RegistryUnreachable`, or `SandboxError` if it refuses.
    """
    request = urllib.request.Request(  # noqa: S310 - an address of the sandbox's user
        f"{registry.rstrip('/')}/subjects/{subject}/versions",
        data=json.dumps({"schema": schema}).encode(),
        headers={"Content-Type": _KIND},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - likewise
            return int(json.load(answer)["id"])
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        raise SandboxError(f"The registry refuses the schema: {said}") from error
    except OSError as error:
        raise RegistryUnreachable(
            f"No schema registry answered at {registry}: {error}."
        ) from error
