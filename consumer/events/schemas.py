"""Writer schemas by id: a folder of files named by schema id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consumer.errors import SchemaError
from consumer.events.codecs import Codec

if TYPE_CHECKING:
    from pathlib import Path

NUMBERED = re.compile(r"(\d+)\.avsc")


class SchemaFolder:
    """Schemas in files such as `7.avsc` for schema id 7; read once each."""

    def __init__(self, folder: Path) -> None:
        """Read from `folder`. Raises `SchemaError` when it holds no schema."""
        self._folder = folder
        self._codecs: dict[int, Codec | None] = {}
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

    def codec(self, schema_id: int) -> Codec | None:
        """Give the codec of a writer schema, None where there is no such file.

        Raises `SchemaError` naming the file when it is no valid schema.
        """
        if schema_id not in self._codecs:
            self._codecs[schema_id] = self._load(schema_id)
        return self._codecs[schema_id]

    def newest(self) -> tuple[int, Codec]:
        """Give the schema with the greatest id: expressions are checked against it."""
        if self._newest is None:
            self._newest = self.ids()[-1]
        schema_id = self._newest
        codec = self.codec(schema_id)
        if codec is None:
            raise SchemaError(f"Schema {schema_id} vanished from {self._folder}.")
        return schema_id, codec

    def name(self, schema_id: int) -> str:
        """Name a schema, and its file."""
        return f"Schema {schema_id} ({schema_id}.avsc)"

    def _load(self, schema_id: int) -> Codec | None:
        path = self._folder / f"{schema_id}.avsc"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return Codec(text)
        except SchemaError as error:
            raise SchemaError(f"{path}: {error.what}", error.remedy) from error
