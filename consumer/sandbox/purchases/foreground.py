"""The purchase generator as a command: a spec, a topic, a progress bar."""

import dataclasses
import datetime as dt
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from consumer.errors import ConfigurationError
from consumer.sandbox.purchases.produce import Produced, prepare_topic, produce
from consumer.sandbox.purchases.registered import register
from consumer.sandbox.purchases.schema import write_schema_folder
from consumer.sandbox.purchases.spec import EXPECTED, Spec

NOW = "now"


def run_purchases(  # noqa: PLR0913  # each is an option of the command
    spec: Spec,
    *,
    bootstrap_servers: str = "localhost:9092",
    topic: str = "purchases",
    partitions: int = 8,
    rate: float = 0.0,
    start: str = NOW,
    schemas: Path | None = None,
    registry: str | None = None,
    console: Console | None = None,
) -> Produced:
    """Produce the whole stream, showing progress, and say what was produced.

    `start` is an ISO time, UTC unless it says otherwise, or `now`: records then end
    now, or with a `rate` start now and keep pace with the clock. With `schemas` the
    schema is first written to that folder, named by its id. With `registry` it is first
    registered there, when the topic is there, and its id is the registry's.
    """
    console = console or Console()
    spec = starting(spec, start, time.time(), rate)
    if registry is not None:
        options = {"bootstrap.servers": bootstrap_servers}
        prepare_topic(options, topic, partitions, spec.start_ms)
        number = register(registry, f"{topic}-value")
        spec = dataclasses.replace(spec, schema_id=number)
        console.print(f"The registry knows the purchases' schema as {number}.")
    if schemas is not None:
        path = write_schema_folder(schemas, spec.schema_id)
        console.print(f"The purchases' schema is {path}.", soft_wrap=True)
    columns = (
        *Progress.get_default_columns()[:1],
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"Purchases to {topic}", total=spec.events)
        produced = produce(
            spec,
            bootstrap_servers=bootstrap_servers,
            topic=topic,
            partitions=partitions,
            rate=rate,
            on_progress=lambda sent: progress.update(task, completed=sent),
        )
    pace = produced.events / max(produced.seconds, 1e-9)
    console.print(
        f"{produced.events:,} records in {produced.seconds:.1f} s ({pace:,.0f}/s):",
        highlight=False,
    )
    for kind, (outcome, _) in EXPECTED.items():
        count = produced.kinds.get(kind, 0)
        console.print(f"{count:>12,}  {kind.value:16} {outcome}", highlight=False)
    return produced


def starting(spec: Spec, start: str, now: float, rate: float) -> Spec:
    """Return `spec` with its timestamps placed as `start` says; `now` is epoch seconds.

    Raises `ConfigurationError` if `start` is no time.
    """
    if start == NOW and rate:
        span_ms = int(spec.events / rate * 1000)
        return dataclasses.replace(spec, start_ms=int(now * 1000), span_ms=span_ms)
    if start == NOW:
        return dataclasses.replace(spec, start_ms=int(now * 1000) - spec.span_ms)
    try:
        moment = dt.datetime.fromisoformat(start)
    except ValueError as error:
        allowed = "must be now or an ISO time such as 2026-01-01T00:00:00"
        raise ConfigurationError("--start", start, allowed) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return dataclasses.replace(spec, start_ms=int(moment.timestamp() * 1000))
