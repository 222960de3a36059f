"""Writer schemas by id, from a registry: asked once each, and kept on disk.

The same interface as `events.schemas.SchemaFolder`. A schema never changes under its
id, so a file that was written once is right for ever, and a start without the registry
reads from files alone.
"""

from __future__ import annotations

import json
import os
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.codecs import Codec
from consumer.events.framing import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.events.framing import Framing, SchemaId

log = structlog.get_logger(__name__)

# An id that the registry does not know is asked for again after so long: a topic full
# of broken records must not become a flood of questions.
UNKNOWN_SECONDS: Final = 2.0
MOST_UNKNOWN: Final = 10_000  # ids kept in mind, the latest; broken records name any
# Without an answer it is asked again after so long, then after twice as long, and so
# on: a registry that only times out must not take all of a loop's time.
DOWN_SECONDS: Final = 1.0
LONGEST_DOWN_SECONDS: Final = 30.0
LATEST: Final = "latest.json"


class Registry(Protocol):
    """Answers for schemas; see `kafka.registry`."""

    def schema(self, schema_id: SchemaId) -> str | None:
        """Give a schema by its id, None where there is none."""
        ...

    def latest(self, subject: str) -> tuple[int, str] | None:
        """Give the id and text of a subject's latest schema, None without one."""
        ...

    def version(self, subject: str, schema_id: SchemaId) -> int | None:
        """Give a schema's version in a subject, None where it has none."""
        ...


def cache_folder(state_dir: Path, address: str, subject: str) -> Path:
    """Give each registry and subject a folder: ids mean something in theirs only."""
    name = sha256(f"{address}\n{subject}".encode()).hexdigest()[:16]
    return state_dir / f"schemas-{name}"


class RegisteredSchemas:
    """The schemas of one subject of a registry, with a cache in a folder."""

    def __init__(
        self,
        registry: Registry,
        subject: str,
        folder: Path,
        *,
        framing: Framing | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `registry`; nothing is asked or read yet."""
        self.framing = framing or Prefix()
        self._registry = registry
        self._subject = subject
        self._folder = folder
        self._monotonic = monotonic
        self._codecs: dict[SchemaId, Codec] = {}
        self._unknown: dict[SchemaId, float] = {}
        self._newest: tuple[int, Codec] | None = None
        self._down: RegistryUnreachable | None = None
        self._down_until = self._down_seconds = 0.0

    def codec(self, schema_id: SchemaId) -> Codec | None:
        """Give the codec of a writer schema, None where the registry knows none.

        Raises `RegistryUnreachable`, which is retriable, when it cannot be told now,
        and `SchemaError` when the schema cannot be read as columns.
        """
        if (codec := self._codecs.get(schema_id)) is not None:
            return codec
        asked_at = self._unknown.get(schema_id)
        if asked_at is not None and self._monotonic() - asked_at < UNKNOWN_SECONDS:
            return None
        text = self._read(f"{schema_id}.avsc")
        if text is None:
            text = self._ask(schema_id)
            if text is None:
                return None
            self._write(f"{schema_id}.avsc", text)
        return self._keep(schema_id, text)

    def _ask(self, schema_id: SchemaId) -> str | None:
        """Ask the registry, unless it gave no answer a moment ago."""
        if self._down is not None and self._monotonic() < self._down_until:
            raise RegistryUnreachable(self._down.what, self._down.remedy)
        try:
            text = self._registry.schema(schema_id)
        except RegistryUnreachable as error:
            doubled = min(2 * self._down_seconds, LONGEST_DOWN_SECONDS)
            self._down, self._down_seconds = error, max(DOWN_SECONDS, doubled)
            self._down_until = self._monotonic() + self._down_seconds
            raise
        self._down, self._down_seconds = None, 0.0
        self._unknown.pop(schema_id, None)
        if text is None:
            self._unknown[schema_id] = self._monotonic()
            if len(self._unknown) > MOST_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
        return text

    def newest(self) -> tuple[int, Codec]:
        """Give the subject's latest schema; without the registry, the last one seen.

        Raises `SchemaError` where the subject has none, `RegistryUnreachable` where
        nothing is known of it.
        """
        if self._newest is None:
            self._newest = self._find_newest()
        return self._newest

    def name(self, schema_id: SchemaId) -> str:
        """Name a schema, with its version in the subject where that can be told."""
        try:
            version = self._registry.version(self._subject, schema_id)
        except RegistryUnreachable:
            version = None
        known = "" if version is None else f" (version {version} of {self._subject})"
        return f"Schema {schema_id}{known}"

    def _find_newest(self) -> tuple[int, Codec]:
        try:
            found = self._registry.latest(self._subject)
        except RegistryUnreachable as error:
            known = self._last_seen()
            if known is None:
                raise
            log.warning(
                "starting with the latest schema that is known", what=error.what
            )
            return known
        if found is None:
            raise SchemaError(
                f"The schema registry has no subject {self._subject}.",
                "Register the schema of the topic's values, or name a folder in "
                "[purchases] schemas.",
            )
        schema_id, text = found
        codec = self._keep(schema_id, text)
        self._write(f"{schema_id}.avsc", text)
        self._write(LATEST, json.dumps({"id": schema_id}))
        return schema_id, codec

    def _last_seen(self) -> tuple[int, Codec] | None:
        text = self._read(LATEST)
        if text is None:
            return None
        schema_id = int(json.loads(text)["id"])
        written = self._read(f"{schema_id}.avsc")
        return None if written is None else (schema_id, self._keep(schema_id, written))

    def _keep(self, schema_id: SchemaId, text: str) -> Codec:
        try:
            codec = Codec(text)
        except SchemaError as error:
            what = f"Schema {schema_id} of the registry: {error.what}"
            raise SchemaError(what, error.remedy) from error
        return self._codecs.setdefault(schema_id, codec)

    def _read(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except OSError:
            return None

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole. A cache that cannot be written is said, no more."""
        part = self._folder / f"{name}.new"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / name)
        except OSError as error:
            log.warning(
                "a schema is not kept for a start without the registry",
                folder=str(self._folder),
                what=str(error),
            )
