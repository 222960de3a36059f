"""Writer schemas by id: a folder of files named by it, or one for all records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.codecs import Codec
from consumer.events.framing import ONLY_SCHEMA, Bare, Prefix

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.events.decode import Codec as AnyCodec
    from consumer.events.framing import Framing, SchemaId

NUMBERED = re.compile(r"(\d+)\.avsc")


class SchemaFolder:
    """Schemas in files such as `7.avsc` for schema id 7; read once each."""

    def __init__(self, folder: Path, framing: Framing | None = None) -> None:
        """Read from `folder`. Raises `SchemaError` when it holds no schema."""
        self.framing = framing or Prefix()
        self._folder = folder
        self._codecs: dict[SchemaId, Codec | None] = {}
        self._newest: int | None = None
        if not self.ids():
            raise SchemaError(
                f"{folder} holds no schema.",
                "Put each writer schema there in a file named by its id, such as "
                "1.avsc, and name the folder in [purchases] schemas.",
            )

    def ids(self) -> list[int]:
        """List the schema ids there are, in order."""
        if not self._folder.is_dir():
            return []
        names = (NUMBERED.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def codec(self, schema_id: SchemaId) -> Codec | None:
        """Give the codec of a writer schema, None where there is no such file.

        Raises `SchemaError` naming the file when it is no valid schema, and
        `RegistryUnreachable`, which is retriable, when it cannot be read now.
        """
        if schema_id not in self._codecs:
            self._codecs[schema_id] = self._load(schema_id)
        return self._codecs[schema_id]

    def newest(self) -> tuple[int, Codec]:
        """Give the schema with the greatest id: expressions are checked against it."""
        if self._newest is None:
            self._newest = self.ids()[-1]
        schema_id = self._newest
        try:
            codec = self.codec(schema_id)
        except RegistryUnreachable as error:
            raise SchemaError(error.what, error.remedy) from error
        if codec is None:
            raise SchemaError(f"Schema {schema_id} vanished from {self._folder}.")
        return schema_id, codec

    def name(self, schema_id: SchemaId) -> str:
        """Name a schema, and its file."""
        return f"Schema {schema_id} ({schema_id}.avsc)"

    def _load(self, schema_id: SchemaId) -> Codec | None:
        path = self._folder / f"{schema_id}.avsc"
        try:
            return _codec(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryUnreachable(
                f"The schema {path} cannot be read ({error}).",
                "Check the folder [purchases] schemas and its rights.",
            ) from error


def read_codec(path: Path) -> Codec:
    """Read a schema's file; raises `SchemaError` that names it."""
    try:
        return _codec(path)
    except OSError as error:
        raise SchemaError(
            f"The schema {path} cannot be read ({error}).", "Name another file."
        ) from error


def _codec(path: Path) -> Codec:
    try:
        return Codec(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path} is no text ({error}).", "Mend the file.") from error
    except SchemaError as error:
        raise SchemaError(f"{path}: {error.what}", error.remedy) from error


class OneSchema:
    """The same columns for all records, which say no schema: plain Avro, or JSON."""

    def __init__(self, codec: AnyCodec, name: str, *, is_json: bool = False) -> None:
        """Decode all records with `codec`, which people know as `name`."""
        self.framing = Bare(is_json=is_json)
        self._codec = codec
        self._name = name

    def codec(self, schema_id: SchemaId) -> AnyCodec | None:
        """Give the one codec, whatever the id."""
        del schema_id
        return self._codec

    def newest(self) -> tuple[int, AnyCodec]:
        """Give the one codec."""
        return ONLY_SCHEMA, self._codec

    def name(self, schema_id: SchemaId) -> str:
        """Name where the columns are from."""
        del schema_id
        return self._name
