"""How far a request is, is said so that one knows what is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from consumer.commands.requests import _line
from consumer.kafka.control_records import ControlView, Request
from consumer.stages.requests import DELIVERING, Requests

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.kafka.control_follower import ControlFollower
    from consumer.kafka.control_records import Progress

REQUEST = Request("r1", "erase", 1_000.0, 2, {"visitors": ["aa", "bb"]})


class Follower:
    """Shows one request and what is reported of it."""

    def __init__(self, *reports: Progress) -> None:
        """Show `reports`."""
        told = {one.key: one for one in reports}
        self.view = ControlView(records={REQUEST.key: REQUEST, **told})


def report(partition: int, state: str, found: int) -> Progress:
    """Make what an owner reports."""
    return REQUEST.progress(partition, state, 1_001.0, done=found, total=found, body={})


@pytest.mark.parametrize(
    ("reports", "end"),
    [
        (
            [report(0, "done", 0), report(1, DELIVERING, 2)],
            "1 of 2 partitions done, 1 waiting until Target has the rows",
        ),
        ([report(0, "done", 1), report(1, "done", 1)], "2 of 2, done"),
        ([report(0, "done", 1), report(1, "done", 0)], "done; 1 id has no profile"),
        ([report(0, "done", 0), report(1, "done", 0)], "done; 2 ids have no profile"),
    ],
)
def test_a_line_says_what_is_waited_for_and_who_is_unknown(
    reports: list[Progress], end: str
) -> None:
    """Of the visitors that were named, and of Target, where it is not done yet."""
    follower = cast("ControlFollower", Follower(*reports))
    (standing,) = Requests(cast("Settings", None), follower).standings()
    assert _line(standing).endswith(end)
