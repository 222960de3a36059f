"""A dry run of a replay tells what would become of the records by now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from consumer.commands.dead_letters_replay import foreseen
from consumer.kafka.replayer import Copy
from tests.property.world import World
from tests.unit.stages.test_doctor import settings
from tests.unit.stages.test_preview import ATTRIBUTES, SCHEMA, event

if TYPE_CHECKING:
    from pathlib import Path


def test_a_schema_that_came_changes_what_is_foreseen(tmp_path: Path) -> None:
    """Before it they would be refused again, with it they count."""
    given = settings(tmp_path, "visitor_id")
    world = World(ATTRIBUTES, {1: SCHEMA})
    copies = []
    for number in (2, 1):
        one = world.record(event(number, "ann"))
        value = b"\0\0\0\0\7" + (one.value or b"")[5:]
        copies.append(Copy(0, number, 1_000, one.key, value, [("a", "b")]))
    assert foreseen(given, copies) == {"dead_lettered (unknown_schema)": 2}
    (tmp_path / "7.avsc").write_text(json.dumps(SCHEMA), encoding="utf-8")
    assert foreseen(given, copies) == {"folded": 2}
