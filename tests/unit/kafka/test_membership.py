"""Membership: partitions move as the configured protocol wants it."""

from __future__ import annotations

import pytest

from consumer.kafka.membership import Membership, without_group


@pytest.mark.parametrize(
    ("options", "incremental"),
    [
        ({}, True),
        ({"group.protocol": "classic"}, True),
        ({"partition.assignment.strategy": "cooperative-sticky"}, True),
        ({"partition.assignment.strategy": "range,roundrobin"}, False),
        ({"group.protocol": "consumer"}, True),
    ],
)
def test_partitions_move_one_by_one_only_where_the_protocol_says_so(
    options: dict[str, str], *, incremental: bool
) -> None:
    """With an eager strategy librdkafka refuses the incremental calls."""
    assert Membership(options).incremental is incremental


def test_the_default_strategy_is_not_sent_with_kip_848() -> None:
    """There the broker assigns, and the client refuses a strategy of its own."""
    assert "partition.assignment.strategy" in Membership({}).options
    assert Membership({"group.protocol": "consumer"}).options == {
        "group.protocol": "consumer"
    }


def test_a_consumer_without_a_group_has_no_options_of_one() -> None:
    """Everything else stays."""
    options = {"group.instance.id": "a", "group.protocol": "consumer", "fetch": "1"}

    assert without_group(options) == {"fetch": "1"}
