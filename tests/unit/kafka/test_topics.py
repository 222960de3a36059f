"""What our topics must be, and what of a cluster's differs, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from consumer.config import Settings
from consumer.errors import BrokerUnreachable
from consumer.kafka.topics import (
    TopicAdmin,
    TopicSpec,
    TopicState,
    create_command,
    differences,
    plan_topics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS = Settings.model_validate(
    {
        "application": "shop",
        "purchases": {"topic": "purchases"},
        "target": {"client": "acme"},
        "attributes": {"orders": {"aggregate": "count"}},
    }
)


def as_planned(partitions: int = 6) -> dict[str, TopicState]:
    """Return a cluster that is as it must be."""
    return {
        spec.name: TopicState(spec.name, "id", spec.partitions, dict(spec.config))
        for spec in plan_topics(SETTINGS, partitions)
    }


def found(states: dict[str, TopicState]) -> list[tuple[str, str]]:
    """Return which topics differ in what."""
    specs = plan_topics(SETTINGS, 6)
    return [(one.topic, one.kind) for one in differences(specs, states, "b:9092")]


def test_our_topics_follow_the_partitions_of_purchases() -> None:
    """All but control have as many partitions as the topic that is read."""
    partitions = {spec.name: spec.partitions for spec in plan_topics(SETTINGS, 6)}
    assert partitions == {
        "shop.profiles": 6,
        "shop.state": 6,
        "shop.uploads": 6,
        "shop.control": 1,
        "shop.dead-letters": 6,
        "shop.rejected-rows": 6,
    }


def test_only_dead_letters_are_ever_deleted_by_age() -> None:
    """What is state is compacted; dead letters stay two weeks."""
    policies = {s.name: s.config["cleanup.policy"] for s in plan_topics(SETTINGS, 6)}
    assert policies.pop("shop.dead-letters") == "delete"
    assert set(policies.values()) == {"compact"}
    dead_letters = plan_topics(SETTINGS, 6)[4]
    assert dead_letters.config["retention.ms"] == str(14 * 24 * 3_600 * 1_000)


def test_a_cluster_as_planned_has_no_differences() -> None:
    """More generous settings of an administrator are no difference either."""
    states = as_planned()
    assert found(states) == []
    profiles = states["shop.profiles"]
    generous = {**profiles.config, "max.message.bytes": "9999999", "x": "y"}
    assert found({**states, "shop.profiles": replace(profiles, config=generous)}) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"partitions": 5}, "partitions"),
        ({"partitions": 7}, "partitions"),
        ({"config": {"cleanup.policy": "delete"}}, "cleanup"),
        ({"config": {"cleanup.policy": "compact,delete"}}, "cleanup"),
        (
            {"config": {"cleanup.policy": "compact", "max.message.bytes": "1000"}},
            "size",
        ),
    ],
)
def test_what_would_lose_profiles_is_found(change: dict[str, Any], kind: str) -> None:
    """Partition count, cleanup policy and size of profiles must be right."""
    states = as_planned()
    states["shop.profiles"] = replace(states["shop.profiles"], **change)
    assert found(states) == [("shop.profiles", kind)]


def test_a_missing_topic_is_the_only_thing_said_about_it() -> None:
    """What is not there cannot be set wrongly."""
    states = as_planned()
    del states["shop.state"]
    assert found(states) == [("shop.state", "missing")]


def test_an_administrator_gets_lines_to_run() -> None:
    """Every difference that can be mended has its command, safely quoted."""
    specs = plan_topics(SETTINGS, 2)
    commands = [one.command for one in differences(specs, {}, "b:9092")]
    assert commands[3] == (
        "kafka-topics.sh --bootstrap-server b:9092 --create --if-not-exists "
        "--topic shop.control --partitions 1 "
        "--config cleanup.policy=compact --config max.message.bytes=1048588 "
        "--config max.compaction.lag.ms=604800000"
    )
    states = as_planned()
    config = {"cleanup.policy": "delete", "max.message.bytes": "5"}
    states["shop.state"] = TopicState("shop.state", "id", 3, config)
    mending = [
        one.command for one in differences(plan_topics(SETTINGS, 6), states, "b:9092")
    ]
    assert [command.split()[0] for command in mending] == [
        "kafka-topics.sh",
        "kafka-configs.sh",
        "kafka-configs.sh",
    ]
    assert "--partitions 6" in mending[0]
    assert "--add-config cleanup.policy=compact" in mending[1]
    assert "'a b'" in create_command(TopicSpec("t", 1, {}), "a b")


def test_partitions_that_are_too_many_have_no_command() -> None:
    """Nobody is told to run what Kafka cannot do."""
    (difference,) = differences(plan_topics(SETTINGS, 2)[:1], as_planned(6), "b:9092")
    assert difference.command == ""
    assert "another name" in difference.remedy


def test_a_topic_that_never_shows_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Create does not end well while a broker does not know the new topic."""
    monkeypatch.setattr("consumer.kafka.topics.SECONDS_BETWEEN_LOOKS", 0)
    looks: list[int] = []

    class Slow(TopicAdmin):
        """Shows the topic at the given look."""

        def __init__(self, shown_at: int) -> None:
            self.shown_at = shown_at

        def states(self, names: Sequence[str]) -> dict[str, TopicState]:
            looks.append(1)
            shown = names if len(looks) >= self.shown_at else []
            return {name: TopicState(name, "id", 1, {}) for name in shown}

    Slow(shown_at=3)._wait_until_shown(["t"])
    assert len(looks) == 3
    with pytest.raises(BrokerUnreachable, match="do not show these new topics: t"):
        Slow(shown_at=10_000)._wait_until_shown(["t"])


def test_a_compaction_lag_below_a_day_is_told() -> None:
    """An upload that is taken over must find its rows in profiles."""
    states = as_planned()
    profiles = states["shop.profiles"]
    lower = {**profiles.config, "min.compaction.lag.ms": "0"}
    states["shop.profiles"] = replace(profiles, config=lower)
    assert found(states) == [("shop.profiles", "lag")]


def test_a_rekeyed_topic_keeps_what_its_source_keeps() -> None:
    """Records of any age and a little larger fit; retention is the source's."""
    rekeying = Settings.model_validate(
        {
            **SETTINGS.model_dump(include={"application", "target"}),
            "purchases": {"topic": "receipts", "key": "other"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    source = {"retention.ms": "77", "max.message.bytes": "2000000", "x": "y"}
    rekeyed, positions, profiles, *_ = plan_topics(rekeying, 6, source)
    assert (rekeyed.name, rekeyed.partitions) == ("shop.rekeyed", 6)
    assert rekeyed.config["cleanup.policy"] == "delete"
    assert rekeyed.config["retention.ms"] == "77"
    assert int(rekeyed.config["max.message.bytes"]) > 2_000_000
    assert rekeyed.config["message.timestamp.after.max.ms"] == str(2**63 - 1)
    assert positions.config["cleanup.policy"] == "compact"
    assert (positions.name, profiles.name) == ("shop.rekey-state", "shop.profiles")
