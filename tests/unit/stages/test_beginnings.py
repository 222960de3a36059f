"""An attribute that begins anew, as the fold sees it."""

from __future__ import annotations

from tests.property.world import World
from tests.unit.stages.test_batch import ATTRIBUTES, SCHEMA, event


def test_an_attribute_begins_with_nothing_and_the_others_go_on() -> None:
    """By its generation alone: the schema, and so the record's form, is the same."""
    world = World(ATTRIBUTES, {1: SCHEMA})
    world.codec.begin(1, dict.fromkeys(ATTRIBUTES, 1))
    world.work.begin(1)
    world.feed([world.record(event(number, amount=5)) for number in range(3)])
    world.feed([world.record(event(9, "bob", amount=7))])

    world.codec.begin(2, {**dict.fromkeys(ATTRIBUTES, 1), "revenue": 2, "skus": 2})
    world.work.begin(2)
    world.feed([world.record(event(4, amount=4)), world.record(event(5, "eve"))])
    found = world.profiles()
    assert found["ann"]["orders"]["total"] == 4
    assert found["ann"]["revenue"]["total"] == 4
    assert [one["weight"] for one in found["ann"]["skus"]] == [1]
    assert found["ann"]["version"] == 2
    assert found["ann"]["generation"] == 2
    assert found["bob"]["orders"]["total"] == 1
    assert found["bob"]["revenue"] is None
    assert found["eve"]["revenue"]["total"] == 5
    # And from then on it is an attribute like any other.
    world.feed([world.record(event(6, amount=1))])
    assert world.profiles()["ann"]["revenue"]["total"] == 5
