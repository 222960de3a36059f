"""Asks the owners of partitions for something, and tells how far they are with it.

For commands, which are processes of their own: they write to `control` and follow it,
as the service does.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.kafka.control import Control
from consumer.kafka.control_follower import ControlFollower
from consumer.kafka.control_records import FAILED, Request
from consumer.kafka.topics import TopicAdmin

DELIVERING: Final = "delivering"
"""The state of a partition that has done its part and waits until Target has it."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.control_records import Body


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a request is, over all partitions; `total` grows as they begin.

    `waiting` counts the partitions that have done their part and wait until Target has
    it; `asked` the visitors that were named, None where none were.
    """

    id: str
    kind: str
    at: float
    done: int
    total: int
    begun: int
    ended: int
    failed: int
    partitions: int
    waiting: int = 0
    asked: int | None = None

    @property
    def over(self) -> bool:
        """Whether every owner has reported the end."""
        return self.ended == self.partitions


class Requests:
    """The control topic as commands use it; see `connected`."""

    def __init__(self, settings: Settings, follower: ControlFollower) -> None:
        """Use a follower that runs."""
        self._settings = settings
        self._follower = follower

    def ask(self, kind: str, body: Body, at: float) -> Request:
        """Ask every partition's owner; TopicAbsent if our topics are not there."""
        partitions, _ = TopicAdmin(self._settings).require()
        request = Request.new(kind, at, partitions, body)
        self._follower.control.put(request)
        return request

    def take_back(self, request_id: str) -> None:
        """Remove a request: nothing more is done for it."""
        view = self._follower.view
        keys = [f"request/{request_id}"]
        keys += [one.key for one in view.progress(request_id).values()]
        self._follower.control.remove(keys)

    def standings(self) -> list[Standing]:
        """Tell how far each request is, oldest first; ended ones stay for an hour."""
        view = self._follower.view
        found = []
        for request in view.requests():
            reports = list(view.progress(request.id).values())
            named = request.body.get("visitors")
            found.append(
                Standing(
                    id=request.id,
                    kind=request.kind,
                    at=request.at,
                    done=sum(one.done for one in reports),
                    total=sum(one.total for one in reports),
                    begun=len(reports),
                    ended=sum(one.ended for one in reports),
                    failed=sum(one.state == FAILED for one in reports),
                    partitions=request.partitions,
                    waiting=sum(one.state == DELIVERING for one in reports),
                    asked=len(named) if isinstance(named, list) else None,
                )
            )
        return found


@contextmanager
def connected(settings: Settings, clock: Clock) -> Iterator[Requests]:
    """Read the control topic and follow it; blocks, for the broker too."""
    control = Control(settings)
    try:
        follower = ControlFollower(settings, control, control.read(), clock)
        thread = threading.Thread(target=follower.run, name="control", daemon=True)
        thread.start()
        try:
            yield Requests(settings, follower)
        finally:
            follower.stop()
            thread.join()
    finally:
        control.close()
