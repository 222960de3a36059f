"""Tells in `control` how far a process is with taking a rebuild over.

Everything it says follows from the partitions' positions, so that it may be said twice,
late, or by the next owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from consumer.errors import PosConsumerError
from consumer.kafka.control_records import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.kafka.control import Control
    from consumer.kafka.control_records import ControlView, Progress, Request
    from consumer.stages.batch import OpenPartition

log = structlog.get_logger(__name__)

REBUILD: Final = "rebuild"  # the kind of its request
JOINING: Final = "joining"
TELL_SECONDS: Final = 2.0


class RebuildProgress:
    """Writes what has changed, now and then. Used by one thread."""

    def __init__(
        self,
        control: Control,
        view: Callable[[], ControlView],
        clock: Callable[[], float],
    ) -> None:
        """Take the newest view of the topic from `view`, times from `clock`."""
        self._control = control
        self._view = view
        self._clock = clock
        self._told: dict[str, tuple[str, int]] = {}
        self._at = 0.0

    def tell(self, running: Mapping[int, OpenPartition]) -> None:
        """Report the partitions that are asked about; a broker away is no matter."""
        now = self._clock()
        if now - self._at < TELL_SECONDS:
            return
        self._at = now
        view = self._view()
        reports = []
        for request in view.requests(REBUILD):
            announced = _announced(view, request)
            for number, partition in running.items():
                if announced is None or number >= request.partitions:
                    continue
                report = _report(request, announced, partition, now)
                if report is not None and self._is_news(view, report):
                    reports.append(report)
        if not reports:
            return
        try:
            self._control.put(*reports)
        except PosConsumerError as error:
            log.warning("progress of a rebuild could not be told", what=error.what)
            return
        self._told.update({one.key: (one.state, one.done) for one in reports})

    def _is_news(self, view: ControlView, report: Progress) -> bool:
        before = view.progress(report.request).get(report.partition)
        if before is not None and before.ended:
            return False
        return self._told.get(report.key) != (report.state, report.done)


def _announced(view: ControlView, request: Request) -> int | None:
    """Give the generation that has taken a rebuild over; None before."""
    for one in view.generations:
        if one.rebuild.get("id") == request.id:
            return one.number
    return None


def _report(
    request: Request, announced: int, partition: OpenPartition, now: float
) -> Progress | None:
    position, joining = partition.position, partition.joining
    if joining is not None and joining.rebuild == request.id:
        return request.progress(
            partition.number,
            JOINING,
            now,
            done=joining.walked,
            total=joining.total,
            body={"offset": position.joined_at},
        )
    if position.generation >= announced and position.rebuild != request.id:
        return request.progress(partition.number, DONE, now)
    return None
