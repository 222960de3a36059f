"""A schema registry's answers, in our own words: a schema, there is none, or wait.

Confluent's own client asks; any registry with the same interface can answer. What is
not an answer about schemas (an outage, a refusal, another server's page) is retriable,
and never taken for an unknown schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.errors import RegistryUnreachable, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

CALL_SECONDS: Final = 3.0
RETRIES: Final = 1
NOT_FOUND: Final = 404
# Confluent's words for it: no such subject, version or schema. A 404 without them
# comes from something else, such as a wrong path or a proxy.
ABSENT: Final = frozenset({40401, 40402, 40403})


class Registry:
    """Asks one schema registry; every call blocks, for seven seconds at most."""

    def __init__(self, address: str) -> None:
        """Take the registry's address; nothing is asked yet."""
        self._address = address
        self._client: SchemaRegistryClient | None = None

    def schema(self, schema_id: int) -> str | None:
        """Give a schema by its id, None where the registry says that there is none.

        Raises `RegistryUnreachable` where it does not say, and `SchemaError` for a
        schema that is not Avro or refers to others.
        """
        found = self._ask(lambda client: client.get_schema(schema_id))
        return None if found is None else _text(found, f"Schema {schema_id}")

    def latest(self, subject: str) -> tuple[int, str] | None:
        """Give the id and the schema of a subject's latest version, None without one.

        Raises as `schema` does.
        """
        found = self._ask(lambda client: client.get_latest_version(subject))
        if found is None:
            return None
        schema_id: int = found.schema_id
        return schema_id, _text(found.schema, f"The latest schema of {subject}")

    def version(self, subject: str, schema_id: int) -> int | None:
        """Give a schema's version in a subject, None where it has none there."""
        found = self._ask(lambda client: client.get_schema_versions(schema_id)) or []
        versions = [one.version for one in found if one.subject == subject]
        return max(versions, default=None)

    def _ask(self, question: Callable[[SchemaRegistryClient], Any]) -> Any:  # noqa: ANN401 - what the client gives
        # Its imports take a third of a second, and most processes have no registry.
        from confluent_kafka.schema_registry import (  # noqa: PLC0415
            SchemaRegistryClient,
            SchemaRegistryError,
        )

        try:
            if self._client is None:
                self._client = SchemaRegistryClient(
                    {
                        "url": self._address,
                        "timeout": CALL_SECONDS,
                        "max.retries": RETRIES,
                        "retries.wait.ms": 200,
                        "cache.latest.ttl.sec": 0,
                    }
                )
            return question(self._client)
        except SchemaRegistryError as error:
            absent = error.error_code in ABSENT
            if error.http_status_code == NOT_FOUND and absent:
                return None
            raise self._unreachable(f"{error}") from error
        except Exception as error:  # the client lets through whatever its parts raise
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, why: str) -> RegistryUnreachable:
        return RegistryUnreachable(
            f"The schema registry at {self._address} gave no schema: {why[:300]}.",
            "Check [purchases] schema_registry, the network and its rights.",
        )


def _text(schema: Schema, name: str) -> str:
    if (schema.schema_type or "AVRO") != "AVRO":
        raise SchemaError(
            f"{name} is {schema.schema_type}, not Avro.", "Purchases are Avro records."
        )
    if schema.references:
        raise SchemaError(
            f"{name} refers to other schemas, which is not supported.",
            "Register it with their types written out in it.",
        )
    if schema.schema_str is None:
        raise SchemaError(f"{name} has no text.", "Look at it in the registry.")
    return schema.schema_str
