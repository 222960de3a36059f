"""Which rows of a refused file are at fault: the rules of the search, pure.

A file that Target refuses is divided until single rows are left (`Pending.divide`). Its
parts share one `Search`, which says after each refusal whether dividing goes on, and at
the end whether the rows that are left may be put down as rejected. They may only if
Target has taken something meanwhile: where it takes nothing at all, the account, the
configuration or Target itself is at fault, and no row is.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_REFUSALS: Final = 100
"""Refused parts of one file: with as many accepted ones, five minutes of calls."""

MOST_IN_A_ROW: Final = 24
"""Refusals without an acceptance between them. Halving 500,000 rows down to one takes
20, so a single bad row stays below; a file without a single good row does not."""

MOST_SUSPECTS: Final = 20
"""Single rows of one file that may be rejected; more are no accident of data."""


class Verdict(StrEnum):
    """What is to be done with a part that was refused."""

    DIVIDE = "divide"
    SUSPECT = "suspect"
    """It is a single row: it waits for the end of the search."""

    GIVE_UP = "give_up"
    """The search has cost enough, or finds too much: no row is put down."""


@dataclass(slots=True)
class Search:
    """What is known of one file and its parts.

    `doubtful`: the file was not refused in words, but failed for longer than its
    deadline, so an outage is still possible.
    """

    doubtful: bool = False
    refusals: int = 0
    in_a_row: int = 0
    taken: int = 0
    suspects: int = 0

    def accepted(self) -> None:
        """Note that Target took a part."""
        self.taken += 1
        self.in_a_row = 0

    def refused(self, rows: int) -> Verdict:
        """Judge a part of so many rows that Target refused."""
        self.refusals += 1
        self.in_a_row += 1
        if self.refusals > MOST_REFUSALS or self.in_a_row > MOST_IN_A_ROW:
            return Verdict.GIVE_UP
        if rows > 1:
            return Verdict.DIVIDE
        self.suspects += 1
        return Verdict.GIVE_UP if self.suspects > MOST_SUSPECTS else Verdict.SUSPECT

    def proves(self, *, taken_lately: bool) -> bool:
        """Whether the suspects are at fault, once every part has had its answer.

        `taken_lately`: Target took another file from us within the last hour. That is
        enough where it refused in words; a failing file needs an acceptance among its
        own parts, and so after it began to fail.
        """
        return self.taken > 0 or (taken_lately and not self.doubtful)
