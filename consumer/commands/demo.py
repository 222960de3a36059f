"""`pos-consumer demo`: the whole job on real parts, with a reckoning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    events: Annotated[int, typer.Option(help="Records of all kinds.", min=1)] = 200_000,
    visitors: Annotated[
        int, typer.Option(help="Visitors to draw from.", min=1)
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal bytes.", min=0)] = 1,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Keep the configuration, the state and the service's log here.",
            metavar="FOLDER",
            file_okay=False,
        ),
    ] = None,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="Two replicas at a steady rate instead, with a schema registry, "
            "watched by a real Prometheus and Alertmanager (Debian or Ubuntu).",
        ),
    ] = False,
    foreign: Annotated[
        bool,
        typer.Option(
            "--foreign",
            help="Another retailer's receipts: decimals in bytes, a nested customer, "
            "lines of several kinds; in Avro, then in JSON.",
        ),
    ] = False,
) -> None:
    """Run the whole job on an embedded real Kafka and a Target sandbox.

    Produces purchases with repeats, returns, late and broken records, runs the
    service, and compares every visitor's profile at Target with a recount in plain
    Python that shares no code with it. The exit code is 0 only if all agree.
    """
    from consumer.sandbox.demo.demo import run_demo
    from consumer.sandbox.purchases.spec import Spec

    spec = Spec(events=events, visitors=visitors, seed=seed)
    if not run_demo(spec, keep=keep, observe=observe, foreign=foreign):
        raise typer.Exit(1)
