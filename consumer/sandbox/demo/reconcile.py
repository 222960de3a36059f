"""The reckoning: what was produced, what became of it, what Target has. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.sandbox.recount import Recount

MINUTE: Final = 60.0
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: two figures that must agree."""

    what: str
    expected: int
    found: int
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether they do."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Difference:
    """A visitor whose profile at Target is not what the recount says."""

    visitor: str
    expected: Mapping[str, str] | None
    found: Mapping[str, str] | None


def outcome_rows(
    produced: int,
    recount: Recount,
    outcomes: Mapping[str, int],
    reasons: Mapping[str, int],
    letters: Mapping[str, int],
) -> list[Row]:
    """Compare what became of the records: service against recount, by reason.

    `outcomes` and `reasons` are the service's counters, `letters` the records in the
    topic of dead letters by reason.
    """
    rows = [Row("records produced = accounted for", produced, sum(outcomes.values()))]
    for outcome in ("folded", "duplicate", "filtered", "dead_lettered"):
        expected = recount.outcomes.get(outcome, 0)
        rows.append(Row(outcome, expected, outcomes.get(outcome, 0)))
    for reason in sorted({*recount.dead_letters, *reasons, *letters}):
        expected = recount.dead_letters.get(reason, 0)
        rows.append(Row(f"  {reason}", expected, reasons.get(reason, 0)))
    rows.append(
        Row(
            "dead letters kept in their topic",
            sum(recount.dead_letters.values()),
            sum(letters.values()),
        )
    )
    return rows


def profile_rows(
    recount: Recount, target: Mapping[str, Mapping[str, str]]
) -> tuple[list[Row], list[Difference]]:
    """Compare every visitor's profile at Target with the recount."""
    expected = {v: p for v, p in recount.profiles.items() if p}
    wrong = [
        Difference(visitor, expected.get(visitor), target.get(visitor))
        for visitor in sorted({*expected, *target})
        if expected.get(visitor) != target.get(visitor)
    ]
    equal = len(expected.keys() & target.keys()) - sum(
        one.expected is not None and one.found is not None for one in wrong
    )
    rows = [
        Row("visitors with a profile at Target", len(expected), len(target)),
        Row("profiles equal to the recount", len(expected), equal),
    ]
    return rows, wrong


def busiest_minute(times: Iterable[float]) -> int:
    """Give the most calls in any sixty seconds."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while time - ordered[first] >= MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


def examples(wrong: Sequence[Difference]) -> list[str]:
    """Describe the first differences in words."""
    return [
        f"{one.visitor}: expected {one.expected}, found {one.found}"
        for one in wrong[:EXAMPLES]
    ]
