"""The demo's course: start the parts, produce, run the service, reckon up.

embedded Kafka + Target sandbox -> purchases -> the service -> reckoning
                                      |                            ^
                                      +----> recount, elsewhere ---+

Observed, two replicas work while the purchases come in, their schema is a registry's,
and Prometheus watches.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from consumer.errors import SandboxError
from consumer.sandbox.demo.observed import RATE, Observed, dated_now
from consumer.sandbox.demo.reconcile import (
    Row,
    busiest_minute,
    examples,
    outcome_rows,
    profile_rows,
)
from consumer.sandbox.demo.replicas import Replicas
from consumer.sandbox.demo.service_process import Metrics, run_command
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.demo.work import (
    FOREIGN,
    OWN,
    configure,
    recount_topic,
    registered,
)
from consumer.sandbox.kafka import EmbeddedKafka
from consumer.sandbox.purchases.produce import Produced, prepare_topic, produce
from consumer.sandbox.registry import EmbeddedRegistry
from consumer.sandbox.target.server import TargetSandbox

if TYPE_CHECKING:
    from rich.progress import TaskID

    from consumer.sandbox.demo.work import Records
    from consumer.sandbox.purchases.spec import Spec
    from consumer.sandbox.recount import Recount

APPLICATION: Final = "demo"
PARTITIONS: Final = 8
OUR_TOPICS: Final = ("profiles", "state", "uploads", "dead-letters")
LOOK_SECONDS: Final = 0.25
DRAIN_SECONDS: Final = 60.0
# Without any progress for so long, something is broken.
PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How the demo ended; `rows` must all agree."""

    rows: list[Row]
    differences: list[str]
    calls: int
    budget: int
    violations: list[str]
    events_per_second: float
    seen: str = ""

    @property
    def agrees(self) -> bool:
        """Whether everything that must agree does."""
        within = self.calls <= self.budget and not self.violations
        return within and all(row.agrees for row in self.rows)


def run_demo(
    spec: Spec,
    *,
    keep: Path | None,
    observe: bool = False,
    foreign: bool = False,
    console: Console | None = None,
) -> bool:
    """Run the demo and print what happens; tell whether everything agrees.

    With `observe`, purchases come in at a steady rate while two replicas work, a real
    registry has their schema, and a real Prometheus watches them with the alerts. With
    `foreign`, they are another retailer's receipts, in Avro and then in JSON.

    `keep` is a folder for the configuration, the state and the service's log, which
    else go when the demo ends.
    """
    console = console or Console()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        console.print("Starting a real Apache Kafka and the Target sandbox.")
        kafka = stack.enter_context(EmbeddedKafka())
        registry = stack.enter_context(EmbeddedRegistry()).address if observe else ""
        agrees = True
        for one in FOREIGN if foreign else (OWN,):
            records = registered(one, registry) if observe else one
            inner = folder / records.name if foreign else folder
            inner.mkdir(exist_ok=True)
            reckoning = asyncio.run(
                _run(spec, inner, kafka.bootstrap, console, records, registry=registry)
            )
            _print_reckoning(reckoning, console)
            agrees = agrees and reckoning.agrees
        _print_next(keep, console, records)
    return agrees


async def _run(  # noqa: PLR0913 - what differs from run to run
    spec: Spec,
    folder: Path,
    bootstrap: str,
    console: Console,
    records: Records,
    *,
    registry: str,
) -> Reckoning:
    """Run it once; with a registry's address, observed."""
    application = _application(records)
    spec = replace(spec, schema_id=records.schema_id)
    with ExitStack() as stack:
        target = await _entered(stack, TargetSandbox())
        works = [
            configure(
                part,
                bootstrap=bootstrap,
                endpoint=target.endpoint,
                application=application,
                topic=records.name,
                records=records,
            )
            for part in ((folder, folder / "second") if registry else (folder,))
        ]
        work = works[0]
        console.print(
            f"Kafka answers at {bootstrap}, Target at {target.endpoint}; the service's "
            f"metrics will be at http://127.0.0.1:{work.port}/metrics.",
            highlight=False,
            soft_wrap=True,
        )
        observed = None
        if registry:
            spec = dated_now(spec)
            observed = stack.enter_context(Observed(folder, works))
            parts = {"kafka": bootstrap, "registry": registry}
            observed.tell(console, spec, parts | {"target": target.endpoint})
        progress = stack.enter_context(_progress(console))
        options = {"bootstrap.servers": bootstrap}
        await asyncio.to_thread(
            prepare_topic, options, records.name, PARTITIONS, spec.start_ms
        )
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        producing = asyncio.ensure_future(
            _produce(spec, bootstrap, progress, records, RATE if registry else 0.0)
        )
        if not registry:  # the service finds all of them waiting
            await producing
        pool = stack.enter_context(
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        )
        recounting = asyncio.ensure_future(
            _recount(pool, producing, bootstrap, records)
        )
        service = stack.enter_context(Replicas(works))
        topics = stack.enter_context(Topics(bootstrap, application))
        counters, rate = await _watch(service, topics, producing, spec, progress)
        produced = await producing
        seen = await asyncio.to_thread(observed.seen) if observed else ""
        code = await asyncio.to_thread(service.drain, DRAIN_SECONDS)
        if code != 0:
            raise SandboxError(f"The service ended with {code}; see {work.log}.")
        recounted = await _shown(recounting, progress)
        letters = await asyncio.to_thread(topics.dead_letters)
    rows = outcome_rows(
        produced.events,
        recounted,
        counters.by("pos_consumer_records_total", "outcome"),
        counters.by("pos_consumer_dead_letters_total", "reason"),
        letters,
    )
    conflicts = int(counters.total("pos_consumer_conflicts_total"))
    rows.append(Row("duplicates that conflict", recounted.conflicts, conflicts))
    profiles, wrong = profile_rows(recounted, dict(target.profiles()))
    journal = target.journal
    return Reckoning(
        rows + profiles,
        examples(wrong),
        busiest_minute(call.at for call in journal.calls if call.metered),
        target.account.options.calls_per_minute,
        [one.rule for one in journal.violations],
        rate,
        seen,
    )


async def _entered(stack: ExitStack, target: TargetSandbox) -> TargetSandbox:
    """Enter the sandbox; it lives as long as the event loop."""
    await target.__aenter__()
    loop = asyncio.get_running_loop()
    stack.callback(lambda: loop.create_task(target.__aexit__(None, None, None)))
    return target


async def _produce(
    spec: Spec, bootstrap: str, progress: Progress, records: Records, rate: float
) -> Produced:
    task = progress.add_task("purchases produced", total=spec.events)
    return await asyncio.to_thread(
        produce,
        spec,
        bootstrap_servers=bootstrap,
        topic=records.name,
        partitions=PARTITIONS,
        rate=rate,
        encode=records.encode,
        on_progress=lambda sent: progress.update(task, completed=sent),
    )


async def _recount(
    pool: ProcessPoolExecutor,
    producing: asyncio.Future[Produced],
    bootstrap: str,
    records: Records,
) -> Recount:
    """Recount the topic in another process, as soon as it is whole."""
    await producing
    return await asyncio.wrap_future(
        pool.submit(recount_topic, bootstrap, records.name, records)
    )


async def _watch(
    service: Replicas,
    topics: Topics,
    producing: asyncio.Future[Produced],
    spec: Spec,
    progress: Progress,
) -> tuple[Metrics, float]:
    """Show every stage until all has arrived; the last scrape and events a second."""
    events = spec.events
    bars = _Bars(progress, events)
    began = folded_at = None
    moved, before = time.monotonic(), -1.0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        service.require_running()
        if producing.done():
            producing.result()
        scrape = await asyncio.to_thread(service.metrics)
        now, done = time.monotonic(), bars.show(scrape)
        if done and began is None:
            began = now - LOOK_SECONDS
        if done == events and folded_at is None:
            folded_at = now
        sign_of_life = done + bars.delivered(scrape)
        if sign_of_life != before:
            moved, before = now, sign_of_life
        if now - moved > PATIENCE_SECONDS:
            raise SandboxError(f"Nothing has moved for {PATIENCE_SECONDS:g} s.")
        idle = scrape.total("pos_consumer_in_flight_batches") == 0
        if folded_at is None or began is None or not idle:
            continue
        if await asyncio.to_thread(topics.uploaded):
            bars.finish(scrape)
            return scrape, events / (folded_at - began)


class _Bars:
    """The progress of the service's stages, taken from its metrics."""

    def __init__(self, progress: Progress, events: int) -> None:
        self._progress = progress
        self._records = progress.add_task("records accounted for", total=events)
        self._rows = progress.add_task("profiles uploaded", total=None)
        self._ends = progress.add_task("batches confirmed", total=None)

    def show(self, scrape: Metrics) -> int:
        """Move the bars; gives the records accounted for."""
        done = int(scrape.total("pos_consumer_records_total"))
        self._progress.update(self._records, completed=done)
        accepted = scrape.total("pos_consumer_upload_rows_total", outcome="accepted")
        pending = scrape.total("pos_consumer_pending_rows")
        self._move(self._rows, accepted, accepted + pending)
        ended = scrape.total("pos_consumer_batch_ends_total")
        self._move(self._ends, ended, ended + self._in_flight(scrape))
        return done

    def delivered(self, scrape: Metrics) -> float:
        """Give a figure that rises with every delivery."""
        return scrape.total("pos_consumer_upload_rows_total") + scrape.total(
            "pos_consumer_calls_total"
        )

    def finish(self, scrape: Metrics) -> None:
        """Show the end."""
        self.show(scrape)

    def _move(self, bar: TaskID, completed: float, total: float) -> None:
        self._progress.update(bar, completed=completed, total=max(total, 1))

    @staticmethod
    def _in_flight(scrape: Metrics) -> float:
        return scrape.total("pos_consumer_in_flight_batches")


async def _shown(recounting: asyncio.Future[Recount], progress: Progress) -> Recount:
    task = progress.add_task("recounted in plain Python", total=None)
    result = await recounting
    progress.update(task, total=1, completed=1)
    return result


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:26}"),
        BarColumn(),
        TextColumn("{task.completed:>10,.0f}"),
        TimeElapsedColumn(),
        console=console,
    )


def _application(records: Records) -> str:
    own = records.name == OWN.name
    return APPLICATION if own else f"{APPLICATION}-{records.name}"


def _print_next(keep: Path | None, console: Console, records: Records) -> None:
    """Say where to look next."""
    topics = ", ".join(f"{_application(records)}.{name}" for name in OUR_TOPICS)
    console.print(
        f"It went from the topic {records.name} through {topics} to Target. ",
        f"Its configuration, state and log are in {keep}."
        if keep
        else "Keep its configuration, state and log with --keep FOLDER. Start the "
        "parts by hand with `pos-consumer sandbox`, and see docs/operations.md.",
        sep="",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _print_reckoning(reckoning: Reckoning, console: Console) -> None:
    table = Table(title="Reconciliation", title_justify="left")
    for name in ("", "expected", "found", ""):
        table.add_column(name, justify="left" if not name else "right")
    for row in reckoning.rows:
        mark = "[green]agrees[/]" if row.agrees else "[red]differs[/]"
        table.add_row(row.what, f"{row.expected:,}", f"{row.found:,}", mark)
    within = reckoning.calls <= reckoning.budget
    table.add_row(
        "calls in the busiest minute",
        f"≤ {reckoning.budget}",
        str(reckoning.calls),
        "[green]within[/]" if within else "[red]beyond[/]",
    )
    broken = len(reckoning.violations)
    mark = "[red]broken[/]" if broken else "[green]kept[/]"
    table.add_row("rules of Target's API broken", "0", str(broken), mark)
    console.print(table)
    for line in [*reckoning.differences, *reckoning.violations]:
        console.print(line, style="red", markup=False, soft_wrap=True)
    console.print(
        reckoning.seen
        or f"{reckoning.events_per_second:,.0f} events a second from Kafka to "
        "profiles, exactly once (start-up included).",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        "[bold green]Every purchase arrived, exactly once.[/]"
        if reckoning.agrees
        else "[bold red]Something does not agree.[/]"
    )
