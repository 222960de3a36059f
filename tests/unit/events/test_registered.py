"""Schemas from a registry: asked once, kept on disk, and told from an outage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.registered import (
    DOWN_SECONDS,
    LONGEST_DOWN_SECONDS,
    MOST_UNKNOWN,
    UNKNOWN_SECONDS,
    RegisteredSchemas,
    cache_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.events.framing import SchemaId


def schema(*names: str) -> str:
    """Write a record schema with fields of these names."""
    fields = [{"name": name, "type": "long"} for name in names]
    return json.dumps({"type": "record", "name": "P", "fields": fields})


class FakeRegistry:
    """Schemas in a dictionary; `down` raises as an outage does."""

    def __init__(self) -> None:
        self.schemas: dict[SchemaId, str] = {1: schema("a"), 2: schema("a", "b")}
        self.newest: int | None = 2
        self.down = False
        self.questions = 0
        self.asked: list[SchemaId] = []

    def schema(self, schema_id: SchemaId) -> str | None:
        """Answer, and remember the question."""
        self._answer()
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)

    def latest(self, subject: str) -> tuple[int, str] | None:
        """Answer for the one subject there is."""
        self._answer()
        if self.newest is None or subject != "purchases-value":
            return None
        return self.newest, self.schemas[self.newest]

    def version(self, subject: str, schema_id: SchemaId) -> int | None:
        """Number the versions by their ids."""
        self._answer()
        if subject != "purchases-value" or not isinstance(schema_id, int):
            return None
        return schema_id

    def _answer(self) -> None:
        self.questions += 1
        if self.down:
            raise RegistryUnreachable("The registry is down.")


class Source:
    """A registry, its schemas and a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = FakeRegistry()
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget what is in memory; what is on disk stays."""
        self.schemas = RegisteredSchemas(
            self.registry, "purchases-value", self.folder, monotonic=lambda: self.now
        )

    def fields(self, schema_id: int) -> list[str] | None:
        """Give the columns of a schema, None where there is none."""
        codec = self.schemas.codec(schema_id)
        return None if codec is None else list(codec.schema.names)


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Source:
    return Source(tmp_path / "state" / "schemas")


def test_a_schema_is_asked_for_once_and_never_after_a_restart(source: Source) -> None:
    """Memory answers first, then the disk, then the registry."""
    for _ in range(3):
        assert source.fields(1) == ["a"]
    source.restart()
    source.registry.down = True
    assert source.fields(1) == ["a"]
    assert source.registry.asked == [1]


def test_an_outage_is_raised_and_not_remembered(source: Source) -> None:
    """An id that cannot be asked for is no unknown id; later it is found."""
    source.registry.down = True
    with pytest.raises(RegistryUnreachable):
        source.schemas.codec(1)
    source.registry.down = False
    source.now += DOWN_SECONDS
    assert source.fields(1) == ["a"]


def test_a_registry_that_does_not_answer_is_asked_ever_more_rarely(
    source: Source,
) -> None:
    """A question may take seconds, so most of the time the last answer counts."""
    source.registry.down = True
    for _ in range(600):
        with pytest.raises(RegistryUnreachable, match="down"):
            source.schemas.codec(1)
        source.now += 0.5
    assert 10 < source.registry.questions < 25
    source.registry.down = False
    source.now += LONGEST_DOWN_SECONDS
    assert source.fields(1) == ["a"]
    source.registry.down = True
    with pytest.raises(RegistryUnreachable):
        source.schemas.codec(2)
    source.registry.down = False
    source.now += DOWN_SECONDS
    assert source.fields(2) == ["a", "b"]


def test_ids_of_broken_records_take_no_memory(source: Source) -> None:
    """Any number of ids that do not exist leaves the latest of them in mind."""
    for schema_id in range(100, MOST_UNKNOWN + 200):
        assert source.fields(schema_id) is None
    asked = len(source.registry.asked)
    assert source.fields(MOST_UNKNOWN + 199) is None
    assert len(source.registry.asked) == asked
    assert source.fields(100) is None
    assert len(source.registry.asked) == asked + 1


def test_an_unknown_id_is_asked_for_again_after_a_while(source: Source) -> None:
    """Broken records are no flood of questions, and a schema may be late."""
    for _ in range(100):
        assert source.fields(7) is None
    assert source.registry.asked == [7]
    source.registry.schemas[7] = schema("late")
    source.now += UNKNOWN_SECONDS
    assert source.fields(7) == ["late"]


def test_a_start_without_the_registry_uses_the_latest_that_is_known(
    source: Source,
) -> None:
    """The newest schema is the last one seen; one that was never seen is an error."""
    source.registry.down = True
    with pytest.raises(RegistryUnreachable):
        source.schemas.newest()
    source.registry.down = False
    assert source.schemas.newest()[0] == 2
    source.registry.schemas[3], source.registry.newest = schema("c"), 3
    source.restart()
    assert source.schemas.newest()[0] == 3
    source.restart()
    source.registry.down = True
    newest, codec = source.schemas.newest()
    assert (newest, codec.schema.names) == (3, ["c"])


def test_a_subject_that_does_not_exist_is_one_sentence(source: Source) -> None:
    """It is named, since the topic's name may be wrong."""
    source.registry.newest = None
    with pytest.raises(SchemaError, match="no subject purchases-value"):
        source.schemas.newest()


def test_a_schema_that_has_no_columns_names_its_id(source: Source) -> None:
    """What is registered but cannot be read halts its partition, by name."""
    source.registry.schemas[4] = '"string"'
    with pytest.raises(SchemaError, match="Schema 4 of the registry"):
        source.schemas.codec(4)


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    """Where a file is in the way the registry still serves."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    source = Source(tmp_path / "state" / "schemas")
    assert source.fields(1) == ["a"]
    assert source.schemas.newest()[0] == 2


def test_each_registry_and_subject_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """An id means another schema elsewhere."""
    places = {
        cache_folder(tmp_path, address, subject)
        for address in ("http://a", "http://b")
        for subject in ("x-value", "y-value")
    }
    assert len(places) == 4
