"""What `doctor` says of schemas, where a registry answers and where it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from consumer.config import Settings
from consumer.errors import SchemaError
from consumer.frames import Records
from consumer.loading import schemas_of
from consumer.stages.doctor_schemas import look_at_schemas
from tests.contract.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consumer.stages.finding import Finding

FIELDS = [{"name": "a", "type": "long"}]
TEXT = json.dumps({"type": "record", "name": "P", "fields": FIELDS})
IN_ITSELF = [{"name": "a", "type": ["null", "P"]}]
RECURSIVE = json.dumps({"type": "record", "name": "P", "fields": IN_ITSELF})


@pytest.fixture(name="server")
def _server() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        server.register("purchases-value", 7, TEXT)
        yield server


def framed(schema_id: int) -> bytes:
    """Write a record that names a schema."""
    return b"\0" + schema_id.to_bytes(4, "big") + b"\2"


def look(server: RegistryServer, folder: Path, *values: bytes) -> list[Finding]:
    """Look at a topic that holds these values."""
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases", "schema_registry": server.address},
            "aggregate": {"state_dir": str(folder)},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    count = len(values)
    records = Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        [None] * count,
        values,
    )
    return [*look_at_schemas(lambda: schemas_of(settings), records)]


def test_a_registry_that_knows_all_is_fine(
    server: RegistryServer, tmp_path: Path
) -> None:
    """It answers, takes what we are, and each schema can be read."""
    server.register("purchases-value", 9, TEXT)
    newest, named = look(server, tmp_path, *map(framed, (7, 9, 7)))
    assert newest.ok
    assert newest.what.startswith("Schema 9")
    assert named.ok
    assert named.what == "2 schemas are named by the newest 3 records, and can be read."


def test_each_schema_that_cannot_be_had_is_told(
    server: RegistryServer, tmp_path: Path
) -> None:
    """One that is not known, one that has no columns; the others hide neither."""
    server.schemas[3] = {"schema": RECURSIVE}
    newest, unusable, unknown = look(server, tmp_path, *map(framed, (8, 7, 3, 8)))
    assert newest.ok
    assert "Schema 3 of the registry" in unusable.what
    assert "contains P in itself" in unusable.what
    assert "2 of the newest 4 records name schema 8" in unknown.what
    assert not unusable.ok
    assert not unknown.ok


@pytest.mark.parametrize(("status", "word"), [(401, "401"), (503, "503")])
def test_a_registry_that_says_no_is_told_with_what_to_check(
    server: RegistryServer, tmp_path: Path, status: int, word: str
) -> None:
    """Refused credentials and outages are one line, and nothing is guessed."""
    server.fails = (status, b'{"error_code": 1, "message": "no"}')
    (finding,) = look(server, tmp_path, framed(7))
    assert word in finding.what
    assert "schema_registry" in finding.remedy


def test_records_that_say_no_schema_are_told(
    server: RegistryServer, tmp_path: Path
) -> None:
    """A topic that is written in another way is noticed before the first run."""
    newest, unsaid, _ = look(server, tmp_path, b"{}", b'{"a": 1}', framed(7))
    assert newest.ok
    assert "2 of the newest 3 records do not say their schema" in unsaid.what
    assert "format" in unsaid.remedy


def test_a_source_that_cannot_be_opened_is_told() -> None:
    """An empty folder is one line, with what belongs there."""

    def source() -> None:
        raise SchemaError("schemas holds no schema.", "Put them there.")

    (finding,) = look_at_schemas(source, None)  # type: ignore[arg-type]
    assert (finding.what, finding.remedy) == (
        "schemas holds no schema.",
        "Put them there.",
    )
