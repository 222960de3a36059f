"""`doctor` judges what it read by the service's own means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from consumer.config import Settings
from consumer.events.schemas import SchemaFolder
from consumer.frames import Records
from consumer.stages.doctor import budget
from consumer.stages.doctor_records import halting
from consumer.stages.doctor_schemas import look_at_schemas
from tests.property.world import World
from tests.unit.stages.test_preview import ATTRIBUTES, SCHEMA, event

if TYPE_CHECKING:
    from pathlib import Path


def settings(folder: Path, visitor: str) -> Settings:
    """Make settings with an expression for the visitor, and write the schema."""
    (folder / "1.avsc").write_text(json.dumps(SCHEMA), encoding="utf-8")
    fields = {"visitor_id": visitor}
    table: dict[str, Any] = {
        "purchases": {"topic": "p", "schemas": str(folder), "fields": fields},
        "target": {"client": "acme"},
        "attributes": ATTRIBUTES,
    }
    return Settings.model_validate(table)


def records() -> Records:
    """Make one purchase of Ann, keyed by her."""
    one = World(ATTRIBUTES, {1: SCHEMA}).record(event(1, "Ann"))
    zero = np.zeros(1, np.int64)
    return Records(zero.astype(np.int32), zero, zero, [one.key], [one.value])


def test_keys_that_are_no_visitors_are_told(tmp_path: Path) -> None:
    """They may be placed well, and would halt their partition all the same."""
    right = settings(tmp_path, "visitor_id")
    assert halting(right, lambda: SchemaFolder(tmp_path), records()) is None
    wrong = settings(tmp_path, "LOWER(visitor_id)")
    found = halting(wrong, lambda: SchemaFolder(tmp_path), records())
    assert found is not None
    assert (found.subject, found.ok) == ("keys", False)
    assert "would halt partition 0 (key_is_not_visitor)" in found.what
    assert "key_expression" in found.remedy


def test_a_configuration_that_is_wrong_is_left_to_check(tmp_path: Path) -> None:
    """It hides nothing else that `doctor` finds."""
    wrong = settings(tmp_path, "nobody")
    assert halting(wrong, lambda: SchemaFolder(tmp_path), records()) is None


def test_a_folder_is_not_told_of_the_grace_of_a_registry(tmp_path: Path) -> None:
    """The remedy names the file that is missing."""
    settings(tmp_path, "visitor_id")
    found = records()
    value = b"\0\0\0\0\7" + (found.values[0] or b"")[5:]
    other = Records(
        found.partitions, found.offsets, found.timestamps, found.keys, [value]
    )
    _, unknown = look_at_schemas(lambda: SchemaFolder(tmp_path), other)
    assert "7.avsc" in unknown.remedy
    assert "schema_grace" not in unknown.remedy


def test_one_replica_has_all_calls(tmp_path: Path) -> None:
    """In words that fit one."""
    given = settings(tmp_path, "visitor_id")
    assert "all for one replica" in budget(given, 1, 1).what
    assert "over 2 replicas" in budget(given, 2, 2).what
