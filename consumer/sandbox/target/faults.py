"""Faults on order: what shall go wrong with the next calls.

`FaultOrders.take` is the one place that decides whether a call goes wrong; the server
asks it once for each call, and once more when it has read a file, and carries out what
it is given. An order concerns the next `calls` calls of its endpoint, or so many of
them by `probability`, or those within a time (`since`, `until`).
"""

import dataclasses
from collections.abc import Collection, Mapping
from enum import StrEnum
from random import Random
from typing import Any, Final

ALWAYS: Final = 0
"""As `Fault.calls`: the order stands until it is cancelled."""


class Endpoint(StrEnum):
    """Where calls arrive."""

    SUBMIT = "submit"
    STATUS = "status"
    FETCH = "fetch"
    UPDATE = "update"
    TOKEN = "token"  # noqa: S105 - a word


class FaultKind(StrEnum):
    """What goes wrong."""

    HTTP_503 = "http_503"
    HTTP_500 = "http_500"
    HTTP_429 = "http_429"
    HTTP_413 = "http_413"
    HANG_UP_413 = "hang_up_413"  # 413 before the file was read, and the line is cut
    REDIRECT = "redirect"  # HTTP 302 to another host
    UNAUTHORIZED = "unauthorized"  # HTTP 401 whatever the token
    FORBIDDEN = "forbidden"  # HTTP 403 whatever the token
    UNSUCCESSFUL = "unsuccessful"  # success=false with HTTP 200
    NOT_XML = "not_xml"  # HTTP 200 with a page for people
    DOCTYPE = "doctype"  # HTTP 200 with entities to be expanded
    ENDLESS = "endless"  # HTTP 200 with an answer that does not stop
    DRIP = "drip"  # HTTP 200, a byte every `seconds`
    LOST = "lost"  # the connection breaks and nothing was taken
    NO_ANSWER = "no_answer"  # taken, to be applied after `seconds`; no answer
    LATE_ANSWER = "late_answer"  # the answer comes after `seconds`
    STUCK = "stuck"  # the batch never completes
    SLOW = "slow"  # the batch takes `seconds` to complete
    FAILED_UPDATES = "failed_updates"  # the batch's first `rows` rows fail
    SWALLOWED = "swallowed"  # the first `rows` rows are told as stored and are not
    FORGOTTEN = "forgotten"  # batchStatus knows no such batch
    FOREIGN_STATUS = "foreign_status"  # the status URL names a host that is not Target


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One order: calls of an endpoint go wrong in one way.

    `calls` counts those that went wrong; `ALWAYS` sets no end. `since` and `until` are
    seconds since the epoch, 0 for none. With `visitor`, only files that hold a row of
    that visitor go wrong. `retry_after` is sent as that header.
    """

    kind: FaultKind
    calls: int = 1
    on: Endpoint = Endpoint.SUBMIT
    seconds: float = 0.0
    rows: int = 1
    message: str = "Unexpected Error"
    probability: float = 1.0
    since: float = 0.0
    until: float = 0.0
    visitor: str = ""
    retry_after: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if not 0 <= self.probability <= 1 or self.calls < 0 or self.rows < 0:
            message = "probability is from 0 to 1, calls and rows from 0"
            raise ValueError(message)


def fault_of(given: Mapping[str, Any]) -> Fault:
    """Make a fault of its members; ValueError, KeyError or TypeError if it is none."""
    kind = FaultKind(given["kind"])
    on = Endpoint(given.get("on", Endpoint.SUBMIT))
    return Fault(**{**given, "kind": kind, "on": on})


class FaultOrders:
    """Open orders, served in the order given."""

    def __init__(self, seed: int = 1) -> None:
        """Start with none; equal seeds choose the same calls."""
        self._open: list[tuple[Fault, int]] = []
        self._random = Random(seed)

    def order(self, fault: Fault) -> None:
        """Add an order."""
        self._open.append((fault, fault.calls))

    def cancel(self) -> None:
        """Drop all open orders."""
        self._open.clear()

    def open(self) -> list[tuple[Fault, int]]:
        """Return the open orders and how many calls each still concerns."""
        return list(self._open)

    def take(
        self, endpoint: Endpoint, now: float, visitors: Collection[str] | None = None
    ) -> Fault | None:
        """Return what goes wrong with this call, None if nothing does.

        `visitors` are those of a file, once it is read; before, and for any other call,
        orders that name a visitor do not count.
        """
        for index, (fault, left) in enumerate(self._open):
            if self._concerns(fault, endpoint, now, visitors):
                if left > 1:
                    self._open[index] = (fault, left - 1)
                elif left == 1:
                    del self._open[index]
                return fault
        return None

    def _concerns(
        self,
        fault: Fault,
        endpoint: Endpoint,
        now: float,
        visitors: Collection[str] | None,
    ) -> bool:
        if fault.on is not endpoint or bool(fault.visitor) is not (
            visitors is not None
        ):
            return False
        if visitors is not None and fault.visitor not in visitors:
            return False
        if now < fault.since or (fault.until and now >= fault.until):
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability
