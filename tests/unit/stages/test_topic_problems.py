"""Problems of topics that halt partitions, each with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.config import Settings
from consumer.kafka.control_records import Generation
from consumer.kafka.topics import Cluster, Difference
from consumer.stages.topic_problems import (
    absence_problem,
    cleanup_problem,
    count_problem,
    pseudonym_problem,
)

if TYPE_CHECKING:
    from typing import Literal

SETTINGS = Settings.model_validate(
    {
        "purchases": {"topic": "purchases", "schemas": "schemas"},
        "target": {"client": "acme"},
        "attributes": {"orders": {"aggregate": "count"}},
    }
)


@pytest.mark.parametrize(
    ("topic", "kind", "halts"),
    [
        (SETTINGS.topics.profiles, "cleanup", True),
        (SETTINGS.topics.state, "cleanup", True),
        (SETTINGS.topics.dead_letters, "cleanup", False),
        (SETTINGS.topics.profiles, "size", False),
    ],
)
def test_state_that_the_broker_may_remove_halts(
    topic: str, kind: Literal["cleanup", "size"], *, halts: bool
) -> None:
    """Only the cleanup policy of the topics that hold state is such a danger."""
    found = [Difference(topic, kind, "It differs.", "Change it.", "a command")]

    halt = cleanup_problem(found, SETTINGS)

    assert (halt is not None) is halts
    if halt is not None:
        assert halt.reason == "cleanup_policy"
        assert "a command" in str(halt)


def test_a_changed_number_of_partitions_halts() -> None:
    """More or fewer: visitors may have moved away from their profiles."""
    assert count_problem(SETTINGS, 8, 8) is None
    for now in (4, 12):
        halt = count_problem(SETTINGS, 8, now)
        assert halt is not None
        assert halt.reason == "partition_count_changed"


def test_a_partition_without_a_place_for_its_state_halts_alone() -> None:
    """Those whose number `profiles` and `state` have go on."""
    topics = SETTINGS.topics
    cluster = Cluster({}, {topics.profiles: 4, topics.state: 6}, {})

    assert absence_problem(cluster, SETTINGS, 3) is None
    halt = absence_problem(cluster, SETTINGS, 4)
    assert halt is not None
    assert halt.reason == "partition_absent"
    assert topics.profiles in str(halt)


def test_another_key_of_pseudonyms_halts_everything() -> None:
    """Also one that was added or taken away; a new application may have any."""
    under = [Generation(number, 1, "", pseudonyms="aa") for number in (1, 2)]
    assert pseudonym_problem([], "bb") is None
    assert pseudonym_problem(under, "aa") is None
    for fingerprint in ("bb", ""):
        found = pseudonym_problem(under, fingerprint)
        assert found is not None
        assert found.reason == "pseudonym_key_changed"
    assert pseudonym_problem([Generation(1, 1, "")], "aa") is not None
