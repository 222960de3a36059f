"""Generations: who is which, what is refused, and where each attribute began."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ConfigurationError
from consumer.kafka.control_records import Generation
from consumer.stages.generations import NO_WISHES, Wishes, settle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def defined(**of: str) -> dict[str, str]:
    """Give definitions of sums, by attribute."""
    return {
        name: json.dumps({"aggregate": "sum", "of": column})
        for name, column in of.items()
    }


def announced(
    *configurations: Mapping[str, str], wishes: Sequence[Wishes] = ()
) -> list[Generation]:
    """Announce configurations one after the other, as replicas do that start."""
    known: list[Generation] = []
    told = [*wishes] + [NO_WISHES] * len(configurations)
    for definitions, wish in zip(configurations, told, strict=False):
        settled = settle(known, definitions, 0, wish)
        if settled.new:
            since = dict(settled.since)
            known.append(
                Generation(settled.number, 0, "", {**definitions}, since=since)
            )
    return known


RESET_A = Wishes(frozenset({"a"}))
A, AB, CHANGED = defined(a="x"), defined(a="x", b="x"), defined(a="y")


def test_an_added_attribute_begins_with_its_generation() -> None:
    """The others keep where they began."""
    known = announced(A, AB, defined(a="x", b="x", c="x"))
    assert [dict(one.since) for one in known] == [
        {"a": 1},
        {"a": 1, "b": 2},
        {"a": 1, "b": 2, "c": 3},
    ]


def test_a_replica_that_restarts_with_the_older_configuration_announces_nothing() -> (
    None
):
    """It is what it was, so that the replicas that were rolled forward go on."""
    settled = settle(announced(A, AB), A, 0, NO_WISHES)
    assert (settled.number, settled.new) == (1, False)


def test_a_changed_definition_is_refused_with_both_and_three_remedies() -> None:
    """One sentence says what was, what is, and what can be done."""
    with pytest.raises(ConfigurationError) as caught:
        settle(announced(A), CHANGED, 0, NO_WISHES)
    said = str(caught.value)
    assert caught.value.exit_code == 78
    for part in ('of = "x"', 'of = "y"', "another name", "rebuild a"):
        assert part in said
    assert "run --reset-attribute a" in said


def test_a_reset_happens_once_however_many_replicas_ask() -> None:
    """The second, and every restart with the option, finds what the first announced."""
    known = announced(A, CHANGED, CHANGED, CHANGED, wishes=[NO_WISHES] + [RESET_A] * 3)
    assert [one.number for one in known] == [1, 2]
    assert known[1].since == {"a": 2}
    assert not settle(known, CHANGED, 0, NO_WISHES).new


def test_a_reset_without_a_change_does_nothing() -> None:
    """The option may stay in a deployment."""
    assert not settle(announced(A), A, 0, RESET_A).new


def test_a_definition_can_be_changed_back() -> None:
    """Back to the older configuration is a change like any other, and starts anew."""
    known = announced(A, CHANGED, A, wishes=[NO_WISHES, RESET_A, RESET_A])
    assert [dict(one.since) for one in known] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert settle(known, A, 0, NO_WISHES).number == 3


def test_a_reset_of_no_attribute_of_ours_is_refused() -> None:
    """A wrong name is no silent nothing."""
    with pytest.raises(ConfigurationError, match="--reset-attribute"):
        settle([], A, 0, Wishes(frozenset({"b"})))


def test_an_attribute_that_comes_back_begins_anew() -> None:
    """What is left of it in old profiles lacks the events of its absence."""
    known = announced(AB, A, AB, wishes=[NO_WISHES, NO_WISHES, Wishes(supersede=True)])
    assert [dict(one.since) for one in known] == [
        {"a": 1, "b": 1},
        {"a": 1},
        {"a": 1, "b": 3},
    ]
    assert not settle(known, AB, 0, Wishes(supersede=True)).new


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_whatever_is_changed_in_whatever_order_numbers_and_beginnings_agree(
    steps: list[tuple[dict[str, str], bool]],
) -> None:
    """A state is kept as long as it was of one definition, and no longer."""
    told = [Wishes(frozenset(columns), supersede) for columns, supersede in steps]
    known = announced(*(defined(**columns) for columns, _ in steps), wishes=told)
    assert [one.number for one in known] == [*range(1, len(known) + 1)]
    for one in known:
        assert one.since.keys() == one.definitions.keys()
        for name, began in one.since.items():
            lived = [g for g in known if began <= g.number <= one.number]
            assert {g.definitions.get(name) for g in lived} == {one.definitions[name]}
            before = known[began - 2] if began > 1 else None
            if before is not None:
                was = before.definitions.get(name)
                assert was != one.definitions[name]
