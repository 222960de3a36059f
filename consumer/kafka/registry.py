"""A schema registry's answers, in our own words: a schema, there is none, or wait.

Confluent's own client asks; any registry with the same interface can answer. What is
not an answer about schemas (an outage, a refusal, another server's page) is retriable,
and never taken for an unknown schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumer.config.records import RegistrySettings
from consumer.errors import RegistryUnreachable, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

CALL_SECONDS: Final = 3.0
RETRIES: Final = 1
NOT_FOUND: Final = 404
REFUSED: Final = frozenset({401, 403})
# Confluent's words for it: no such subject, version or schema. A 404 without them
# comes from something else, such as a wrong path or a proxy.
ABSENT: Final = frozenset({40401, 40402, 40403})


class Registry:
    """Asks one schema registry; every call blocks, for seven seconds at most."""

    def __init__(self, address: str, way: RegistrySettings | None = None) -> None:
        """Take the registry's address, and credentials; nothing is asked yet."""
        self._address = address
        self._way = way or RegistrySettings()
        self._client: SchemaRegistryClient | None = None
        self._path_unknown = False

    def schema(self, schema_id: int | UUID) -> str | None:
        """Give a schema by its id or GUID, None where the registry says there is none.

        Raises `RegistryUnreachable` where it does not say, and `SchemaError` for a
        schema that is not Avro or refers to others.
        """
        if isinstance(schema_id, int):
            found = self._ask(lambda client: client.get_schema(schema_id))
        else:
            found = self._by_guid(schema_id)
        return None if found is None else _text(found, f"Schema {schema_id}")

    def close(self) -> None:
        """Let go of the connection; the next question opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _by_guid(self, guid: UUID) -> Schema | None:
        try:
            found: Schema | None = self._ask(
                lambda client: client.get_schema_by_guid(str(guid))
            )
        except RegistryUnreachable as error:
            if not self._path_unknown:
                raise
            # It may also be a proxy that speaks: nothing is decided about records.
            raise RegistryUnreachable(
                f"The schema registry at {self._address} finds no schemas by GUID.",
                "Let producers write the schema's id in its place, or keep the schema "
                f"as {guid}.avsc in a folder, and name that in [purchases] schemas.",
            ) from error
        return found

    def latest(self, subject: str) -> tuple[int, str] | None:
        """Give the id and the schema of a subject's latest version, None without one.

        Raises as `schema` does.
        """
        found = self._ask(lambda client: client.get_latest_version(subject))
        if found is None:
            return None
        schema_id: int = found.schema_id
        return schema_id, _text(found.schema, f"The latest schema of {subject}")

    def version(self, subject: str, schema_id: int | UUID) -> int | None:
        """Give a schema's version in a subject, None where it has none there."""
        if not isinstance(schema_id, int):
            return None
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
                self._client = SchemaRegistryClient(self._options())
            return question(self._client)
        except SchemaRegistryError as error:
            absent = error.error_code in ABSENT
            self._path_unknown = error.http_status_code == NOT_FOUND and not absent
            if error.http_status_code == NOT_FOUND and absent:
                return None
            if error.http_status_code in REFUSED:
                self.close()  # with the client goes the password that was read
            raise self._unreachable(f"{error}") from error
        except Exception as error:  # the client lets through whatever its parts raise
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _options(self) -> dict[str, Any]:
        """Give the client's options, with secrets as they are now."""
        way = self._way
        options: dict[str, Any] = {
            "url": self._address,
            "timeout": CALL_SECONDS,
            "max.retries": RETRIES,
            "retries.wait.ms": 200,
            "cache.latest.ttl.sec": 0,
        }
        files = {
            "ssl.ca.location": way.ca_file,
            "ssl.certificate.location": way.certificate_file,
            "ssl.key.location": way.key_file,
        }
        options |= {name: str(file) for name, file in files.items() if file is not None}
        if way.username is not None and way.password is not None:
            password = way.password.read("purchases.registry.password")
            options["basic.auth.user.info"] = f"{way.username}:{password}"
        if (token := way.token) is not None:
            options |= {
                "bearer.auth.credentials.source": "CUSTOM",
                "bearer.auth.custom.provider.function": lambda _config: {
                    "bearer.auth.token": token.read("purchases.registry.token"),
                    # Confluent's cloud wants it named, and others do not look at it.
                    "bearer.auth.logical.cluster": "",
                },
                "bearer.auth.custom.provider.config": {},
            }
        return options

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
