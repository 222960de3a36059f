"""Keys of Avro's maps are read as fields are."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.errors import ConfigurationError
from tests.property.world import Record, World

TIME = {"type": "long", "logicalType": "timestamp-millis"}


def schema(tags: Any, notes: Any) -> dict[str, Any]:  # noqa: ANN401 - Avro
    """Write a schema with a map in the event, in a record and in the line items."""
    line = {
        "type": "record",
        "name": "Line",
        "fields": [
            {"name": "sku", "type": "string"},
            {"name": "notes", "type": {"type": "map", "values": notes}},
        ],
    }
    about = {
        "type": "record",
        "name": "About",
        "fields": [{"name": "more", "type": {"type": "map", "values": "long"}}],
    }
    return {
        "type": "record",
        "name": "Purchase",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "visitor_id", "type": "string"},
            {"name": "occurred_at", "type": TIME},
            {"name": "tags", "type": tags},
            {"name": "about", "type": about},
            {"name": "items", "type": {"type": "array", "items": line}},
        ],
    }


STRINGS = {"type": "map", "values": "string"}
OLD = schema(STRINGS, "float")
NEW = schema(["null", {"type": "map", "values": ["null", "string"]}], "double")
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "tier": {"aggregate": "last", "of": "tags.tier", "where": "tags.tier IS NOT NULL"},
    "odd": {"aggregate": "last", "of": 'tags."an odd-key"'},
    "points": {"aggregate": "sum", "of": "about.more.points"},
    "scores": {
        "aggregate": "max",
        "from": "items",
        "of": "notes.score",
        "where": "event.tags.tier = 'gold'",
    },
}


def event(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - Avro
    """Make an event."""
    return {
        "event_id": f"e{number}",
        "visitor_id": "ann",
        "occurred_at": number,
        "tags": {"other": "x", "tier": "gold", "an odd-key": "odd"},
        "about": {"more": {"points": 5, "other": 7}},
        "items": [
            {"sku": "a", "notes": {"score": 1.5, "weight": 9.0}},
            {"sku": "b", "notes": {}},
        ],
        **changes,
    }


def test_a_key_is_a_field_of_each_version() -> None:
    """Null where there is no such key, or no map; values are promoted as others are."""
    world = World(ATTRIBUTES, {1: OLD, 9: NEW}, fields={"items": "items"})
    late = event(4, tags={"tier": None}, about={"more": {"other": 1}}, items=[])
    batch = [
        Record(b"ann", world.encode(event(1), 1)),
        Record(b"ann", world.encode(event(2), 9)),
        Record(b"ann", world.encode(event(3, tags=None), 9)),
        Record(b"ann", world.encode(late, 9)),
    ]
    prepared = world.feed(batch)
    assert not prepared.verdicts.dead_letters
    found = world.profiles()["ann"]
    assert found["tier"]["value"] == "gold"
    assert found["odd"]["value"] == "odd"
    assert found["points"]["total"] == 15
    assert found["scores"] == 1.5


def test_a_map_is_read_by_its_keys_or_whole() -> None:
    """What it would be is said, instead of one of the two failing on events."""
    both = {
        "tier": {"aggregate": "last", "of": "tags.tier"},
        "tagged": {"aggregate": "count", "where": "tags IS NOT NULL"},
    }
    with pytest.raises(ConfigurationError, match="keys of the map tags, or all of it"):
        World(both, {9: NEW})
