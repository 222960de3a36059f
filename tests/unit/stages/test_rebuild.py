"""What is to be rebuilt, from where, and as which application."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from consumer.config import Settings
from consumer.errors import ConfigurationError, PosConsumerError
from consumer.kafka.control_records import Generation
from consumer.plan.compile import Plan, compile_plan
from consumer.stages.rebuild import (
    NEAR_RECORDS,
    Stretch,
    choose,
    described,
    near,
    require_whole,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE = pl.DataFrame(
    {
        "event_id": ["a"],
        "visitor_id": ["x"],
        "occurred_at": pl.Series([0]).cast(pl.Datetime("ms")),
        "amount": [1],
    }
)


def settings(of: Mapping[str, str], **tables: Any) -> Settings:  # noqa: ANN401 - a table each
    """Configure sums."""
    attributes = {name: {"aggregate": "sum", "of": sql} for name, sql in of.items()}
    return Settings.model_validate(
        {
            "purchases": {"topic": "p"},
            "target": {"client": "c"},
            "attributes": attributes,
            **tables,
        }
    )


def plan(**of: str) -> Plan:
    """Compile sums."""
    return compile_plan(settings(of), SAMPLE)


def known(made: Plan) -> list[Generation]:
    """Give the generation that has these attributes."""
    return [Generation(1, 0, "", {a.name: a.definition for a in made.attributes})]


BEFORE = known(plan(a="amount", b="amount"))


def test_what_changed_or_is_new_is_rebuilt() -> None:
    """Without a name: what the newest generation has not, or has otherwise."""
    now = plan(a="amount", b="amount * 2", c="amount")
    assert choose(now, BEFORE, []) == ("b", "c")
    assert choose(now, BEFORE, ["b", "a"]) == ("b", "a")


def test_nothing_is_rebuilt_by_mistake() -> None:
    """No change and no name, a wrong name, or a change that is not named: refused."""
    same = plan(a="amount", b="amount")
    with pytest.raises(PosConsumerError, match="No attribute has changed"):
        choose(same, BEFORE, [])
    with pytest.raises(ConfigurationError, match="rebuild"):
        choose(same, BEFORE, ["z"])
    with pytest.raises(PosConsumerError, match="no profiles"):
        choose(same, [], ["a"])
    with pytest.raises(ConfigurationError, match=r"attributes\.b"):
        choose(plan(a="amount", b="amount * 2"), BEFORE, ["a"])


def test_history_is_not_shortened_in_silence() -> None:
    """The first partition concerned is named with both offsets."""
    whole = Stretch(0, 5, 10, 5)
    require_whole([whole])
    with pytest.raises(PosConsumerError, match=r"in 1 of 2 .* at offset 7, they at 5"):
        require_whole([whole, Stretch(1, 7, 10, 5)])


def test_a_rebuild_shares_nothing_that_it_writes() -> None:
    """Its topics, groups and folder are its own, also where ours have names."""
    ours = settings(
        {"a": "amount"},
        application="shop",
        profiles={"topic": "custom-profiles"},
        dead_letters={"topic": "custom-letters"},
    )
    start = datetime(2026, 1, 31, tzinfo=UTC)
    own = settings_of(ours, "7", start)
    assert own.topics.purchases == ours.topics.purchases
    written = {own.topics.profiles, own.topics.state, own.topics.dead_letters}
    assert all(name.startswith("shop-rebuild-7.") for name in written)
    assert own.aggregate_group == "shop-rebuild-7-aggregate"
    assert own.aggregate.state_dir != ours.aggregate.state_dir
    assert own.purchases.start == start
    assert own.dead_letters.max_ratio == 1.0


def test_a_rebuild_of_rekeyed_purchases_reads_the_same_topic() -> None:
    """What the service has rekeyed is not rekeyed again."""
    ours = settings({"a": "amount"}, purchases={"topic": "p", "key": "other"})
    own = settings_of(ours, "7")
    assert own.topics.purchases == ours.topics.purchases != ours.topics.source


def test_owners_are_told_what_they_take_over() -> None:
    """The schema has the rebuilt attributes and no others."""
    facts = described(
        settings({"a": "amount"}), "7", plan(a="amount", b="amount"), ["b"]
    )
    assert facts["attributes"] == ["b"]
    assert '"name": "b"' in str(facts["schema"])
    assert '"name": "a"' not in str(facts["schema"])


def test_near_is_by_records_or_by_seconds() -> None:
    """A few records are near at any rate, many at a high one."""
    assert near(NEAR_RECORDS, 0.0)
    assert not near(NEAR_RECORDS + 1, 100.0)
    assert near(NEAR_RECORDS + 1, 100_000.0)
