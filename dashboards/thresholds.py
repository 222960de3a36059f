"""The figures that are good or bad, for panels and alerts alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise: this share of events is so far within `seconds`.

    `seconds` must be a bucket's bound of the histogram.
    """

    metric: str
    seconds: float
    share: float

    @property
    def budget(self) -> float:
        """The share that may be late."""
        return round(1 - self.share, 6)


FRESHNESS: Final = Objective("event_to_committed_seconds", 60.0, 0.99)
"""A purchase is in its visitor's profile within a minute."""

DELIVERY: Final = Objective("event_to_confirmed_seconds", 3_600.0, 0.99)
"""A purchase is at Target, confirmed, within an hour."""

BURNS: Final = (
    # long window, short window, times the budget, severity
    ("1h", "5m", 14.4, "page"),
    ("6h", "30m", 6.0, "page"),
    ("3d", "6h", 1.0, "ticket"),
)
"""Multi-window burn rates, after the Google SRE workbook, chapter 5."""

LAG_SECONDS_WARN: Final = FRESHNESS.seconds
LAG_SECONDS_BAD: Final = 10 * FRESHNESS.seconds
UPLOAD_LAG_SECONDS_WARN: Final = DELIVERY.seconds / 4
UPLOAD_LAG_SECONDS_BAD: Final = DELIVERY.seconds
DEAD_LETTERS_WARN: Final = 0.001
DEAD_LETTERS_BAD: Final = 0.01
FAILED_ROWS_BAD: Final = 0.01
LOST_ROWS_BAD: Final = 0.001  # what Adobe admits to
NOT_FOUND_BAD: Final = 0.1
BUDGET_WARN: Final = 0.8
BUDGET_FULL: Final = 0.95
TOKEN_DAYS: Final = 7
HEARTBEAT_WARN: Final = 30.0
HEARTBEAT_BAD: Final = 120.0
RECYCLES_BAD: Final = 5
REBALANCES_BAD: Final = 10
UNSTABLE_SECONDS: Final = 600
OPEN_FILES_SHARE: Final = 0.8
