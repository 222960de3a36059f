"""Writer schemas by id, from a folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.schemas import SchemaFolder

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.dumps({"type": "record", "name": "R", "fields": []})


def test_schemas_are_found_by_id(tmp_path: Path) -> None:
    """Numbers name schemas, in the order of numbers; other files are left alone."""
    for name in ("2.avsc", "10.avsc", "x.avsc", "3.json", "readme.md"):
        (tmp_path / name).write_text(SCHEMA)
    folder = SchemaFolder(tmp_path)
    assert folder.ids() == [2, 10]
    assert folder.newest()[0] == 10
    assert folder.codec(2) is not None
    assert folder.codec(3) is None


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_schemas_is_explained(
    tmp_path: Path,
    make: bool,  # noqa: FBT001 - a parameter
) -> None:
    """An absent or empty folder ends in a sentence that says what to put there."""
    folder = tmp_path / "schemas"
    if make:
        folder.mkdir()
    with pytest.raises(SchemaError, match=r"such as 1\.avsc"):
        SchemaFolder(folder)


def test_an_invalid_schema_is_named(tmp_path: Path) -> None:
    """The error says which file is wrong."""
    (tmp_path / "1.avsc").write_text("{")
    with pytest.raises(SchemaError, match=r"1\.avsc: The schema is not valid Avro"):
        SchemaFolder(tmp_path).codec(1)


def test_a_file_that_cannot_be_read_now_is_waited_for(tmp_path: Path) -> None:
    """That says nothing about records; at the start it is an error of its own."""
    (tmp_path / "1.avsc").mkdir()
    with pytest.raises(RegistryUnreachable, match=r"1\.avsc cannot be read"):
        SchemaFolder(tmp_path).codec(1)
    with pytest.raises(SchemaError, match=r"1\.avsc cannot be read"):
        SchemaFolder(tmp_path).newest()
    assert SchemaFolder(tmp_path).codec(2) is None
