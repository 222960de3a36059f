"""Faults on order: what shall go wrong with the next calls.

`FaultOrders.take` is the one place that decides whether a call goes wrong; the server
asks it once for each call and carries out what it is given.
"""

import dataclasses
from enum import StrEnum


class Endpoint(StrEnum):
    """Where calls arrive."""

    SUBMIT = "submit"
    STATUS = "status"
    FETCH = "fetch"
    UPDATE = "update"


class FaultKind(StrEnum):
    """What goes wrong."""

    HTTP_503 = "http_503"
    HTTP_500 = "http_500"
    UNAUTHORIZED = "unauthorized"  # HTTP 401 whatever the token
    UNSUCCESSFUL = "unsuccessful"  # success=false with HTTP 200
    LOST = "lost"  # the connection breaks and nothing was taken
    NO_ANSWER = "no_answer"  # the batch is taken, the connection breaks
    LATE_ANSWER = "late_answer"  # the answer comes after `seconds`
    STUCK = "stuck"  # the batch never completes
    SLOW = "slow"  # the batch takes `seconds` to complete
    FAILED_UPDATES = "failed_updates"  # the batch's first `rows` rows fail


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One order: the next `calls` calls of an endpoint go wrong in one way."""

    kind: FaultKind
    calls: int = 1
    on: Endpoint = Endpoint.SUBMIT
    seconds: float = 0.0
    rows: int = 1
    message: str = "Unexpected Error"


class FaultOrders:
    """Open orders, served in the order given."""

    def __init__(self) -> None:
        """Start with none."""
        self._open: list[tuple[Fault, int]] = []

    def order(self, fault: Fault) -> None:
        """Add an order."""
        self._open.append((fault, fault.calls))

    def cancel(self) -> None:
        """Drop all open orders."""
        self._open.clear()

    def open(self) -> list[tuple[Fault, int]]:
        """Return the open orders and how many calls each still concerns."""
        return list(self._open)

    def take(self, endpoint: Endpoint) -> Fault | None:
        """Return what goes wrong with this call, None if nothing does."""
        for index, (fault, left) in enumerate(self._open):
            if fault.on is endpoint:
                if left > 1:
                    self._open[index] = (fault, left - 1)
                else:
                    del self._open[index]
                return fault
        return None
