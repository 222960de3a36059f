"""`demo --observe`: the processes of docker-compose.yml, natively, at a steady rate.

Kafka, the Target sandbox, the generator, two replicas, and Prometheus with the alerts.
Grafana is missing, which Debian does not have, and Alertmanager, whose package works
only where it is installed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from consumer.sandbox.prometheus import Prometheus
from consumer.sandbox.purchases.foreground import NOW, starting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from consumer.sandbox.demo.work import Work
    from consumer.sandbox.purchases.spec import Spec

RATE: Final = 2_000.0
"""Purchases a second: a load for a laptop, and a minute and a half by default."""


class Observed:
    """Prometheus while it is entered, and what it has seen."""

    def __init__(self, folder: Path, works: Sequence[Work]) -> None:
        """Watch the replicas of these configurations; nothing runs yet.

        The first one ever downloads Prometheus.
        """
        self._works = works
        addresses = [f"127.0.0.1:{work.port}" for work in works]
        self._prometheus = Prometheus(folder, {"pos-consumer": addresses})

    def __enter__(self) -> Self:
        """Start it."""
        self._prometheus.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self._prometheus.__exit__(kind, error, traceback)

    def tell(self, console: Console, spec: Spec) -> None:
        """Say where to look, and for how long there is something to see."""
        pages = " and ".join(f"http://127.0.0.1:{work.port}/" for work in self._works)
        console.print(
            f"Two replicas, with their pages at {pages}; Prometheus at "
            f"{self._prometheus.address}.\nPurchases come in for "
            f"{spec.events / RATE:,.0f} s, {RATE:,.0f} a second; --events sets how "
            "many.",
            highlight=False,
            soft_wrap=True,
        )

    def seen(self) -> str:
        """Say what Prometheus has seen."""
        series = self._prometheus.query('count({job="pos-consumer"})')
        count = int(float(series[0]["value"][1])) if series else 0
        fired = ", ".join(self._prometheus.fired()) or "none"
        return (
            f"Prometheus has {count:,} series of the replicas; alerts fired: {fired}."
        )


def dated_now(spec: Spec) -> Spec:
    """Let purchases happen as they are sent, so that they are as old as they seem."""
    return starting(spec, NOW, time.time(), RATE)
