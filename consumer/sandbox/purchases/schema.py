"""The purchase schema as text, and as files named by schema id for who reads those.

`schemas/purchase.avsc` is the copy for people; a test holds it equal to this one, which
travels with the package.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

SCHEMA: Final = (files(__package__) / "purchase.avsc").read_text(encoding="utf-8")


def write_schema_folder(folder: Path, schema_id: int = 1, schema: str = SCHEMA) -> Path:
    """Write the schema to `folder` as `<schema id>.avsc` and return its path.

    This is the folder that `[purchases] schemas = "…"` reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{schema_id}.avsc"
    path.write_text(schema, encoding="utf-8")
    return path


def framing(schema_id: int) -> bytes:
    """Return the five bytes before a record: magic 0, then the id, big-endian."""
    return b"\0" + schema_id.to_bytes(4, "big")
