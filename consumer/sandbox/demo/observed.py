"""`demo --observe`: the processes of docker-compose.yml, natively, at a steady rate.

Kafka, the schema registry, the Target sandbox, the generator, two replicas, Prometheus
with the alerts, and Alertmanager. Grafana alone is missing: no registry of packages has
its server.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from consumer.sandbox.alertmanager import Alertmanager
from consumer.sandbox.prometheus import Prometheus
from consumer.sandbox.purchases.foreground import NOW, starting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from consumer.sandbox.demo.work import Work
    from consumer.sandbox.purchases.spec import Spec

RATE: Final = 2_000.0
"""Purchases a second: a load for a laptop, and a minute and a half by default."""


class Observed:
    """Prometheus and Alertmanager while it is entered, and what they have seen."""

    def __init__(self, folder: Path, works: Sequence[Work]) -> None:
        """Watch the replicas of these configurations; nothing runs yet.

        The first one ever downloads both.
        """
        self._works = works
        addresses = [f"127.0.0.1:{work.port}" for work in works]
        self._alertmanager = Alertmanager(folder / "alertmanager")
        self._prometheus = Prometheus(
            folder / "prometheus",
            {"pos-consumer": addresses},
            alertmanager=self._alertmanager.address,
        )
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start them."""
        with ExitStack() as on_failure:
            on_failure.enter_context(self._alertmanager)
            on_failure.enter_context(self._prometheus)
            self._running = on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End them."""
        self._running.close()

    def tell(self, console: Console, spec: Spec, parts: Mapping[str, str]) -> None:
        """Say where to look, and for how long there is something to see.

        `parts` are the addresses of those that run already. All have the names of
        docker-compose.yml.
        """
        addresses = {
            **parts,
            **{
                f"consumer-{number}": f"http://127.0.0.1:{work.port}"
                for number, work in enumerate(self._works, 1)
            },
            "prometheus": self._prometheus.address,
            "alertmanager": self._alertmanager.address,
        }
        lines = [f"  {name:14}{address}" for name, address in addresses.items()]
        console.print(
            *lines,
            f"Purchases come in for {spec.events / RATE:,.0f} s, {RATE:,.0f} a second; "
            "--events sets how many.",
            sep="\n",
            highlight=False,
            soft_wrap=True,
        )

    def seen(self) -> str:
        """Say what Prometheus has seen, and what Alertmanager would tell."""
        series = self._prometheus.query('count({job="pos-consumer"})')
        count = int(float(series[0]["value"][1])) if series else 0
        fired = ", ".join(self._prometheus.fired()) or "none"
        told = len(self._alertmanager.alerts())
        return (
            f"Prometheus has {count:,} series of the replicas; alerts fired: {fired}; "
            f"at Alertmanager: {told}."
        )


def dated_now(spec: Spec) -> Spec:
    """Let purchases happen as they are sent, so that they are as old as they seem."""
    return starting(spec, NOW, time.time(), RATE)
