"""`python -m bench.scale`: what grows with visitors, attributes, memory, processes.

Each curve is the aggregate stage on topics of the reference job that differ in one
thing; the floor is measured once, before them. A run of all curves draws
docs/scale.svg and writes its figures into docs/scale.md.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from rich.console import Console

from bench.check import profiles, require_recount
from bench.measured.service_runs import create_topics
from bench.meter import Measured
from bench.page import keep
from bench.plot import plot
from bench.processes import ROOT, measure
from bench.reference import opened, working_folder
from bench.results import Row, how, table, write
from bench.things import Bench
from consumer.errors import PosConsumerError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.job import Run

# With ten million visitors the store, some five gigabytes, is far larger than that.
SMALL_MEMORY: Final = "600MB"
VISITORS: Final = {"100k": 1, "1m": 1, "10m": 5}  # and times as many events
ATTRIBUTES: Final = (1, 3, 10, 30)
PROCESSES: Final = (1, 2, 4)
MEMORIES: Final = {"2GB": 2_000, "1GB": 1_000, "600MB": 600}  # in MB


Points: TypeAlias = "Iterator[Row]"
SHOWN: Final = {
    "floor": "consume only (the floor)",
    "visitors-100k": "100,000 visitors",
    "visitors-1m": "1 million visitors",
    "visitors-10m": "10 million, 600 MB",
    "attributes-1": "1 attribute",
    "attributes-3": "3 attributes",
    "attributes-10": "10 attributes",
    "attributes-30": "30 attributes",
    "memory-2GB": "memory 2 GB",
    "memory-1GB": "memory 1 GB",
    "memory-600MB": "memory 600 MB",
    "processes-1": "1 process",
    "processes-2": "2 processes",
    "processes-4": "4 processes",
}
PAGE: Final = ROOT / "docs" / "scale.md"
PLOT: Final = ROOT / "docs" / "scale.svg"


def _visitors(bench: Bench) -> Points:
    """Measure the stage with more and more visitors, and the restore of each."""
    events = bench.events
    for visitors, times in VISITORS.items():
        bench.events = events * times
        memory = SMALL_MEMORY if visitors == "10m" else "1GB"
        name = f"visitors-{visitors}"
        yield from _stage(bench, name, name, memory=memory, restored=True)
    bench.events = events


def _attributes(bench: Bench) -> Points:
    """Measure the stage with more and more attributes."""
    for count in ATTRIBUTES:
        name = f"attributes-{count}"
        yield from _stage(bench, name, "uniform", attributes=count)


def _memories(bench: Bench) -> Points:
    """Measure the stage with less and less memory; more of it than set is an error."""
    for memory, most in MEMORIES.items():
        name = f"memory-{memory}"
        for row in _stage(bench, name, "uniform", memory=memory):
            yield row
            if (held := row.rounds[0].peak_rss_mb) > most:
                raise SandboxError(
                    f"{name}: {held:,.0f} MB were resident, {most:,} MB are allowed."
                )


def _shared(bench: Bench) -> Points:
    """Measure more and more processes of one application."""
    for count in PROCESSES:
        yield Row(f"processes-{count}", [_processes(bench, count)], checked=True)


CURVES: Final = {
    "visitors": _visitors,
    "attributes": _attributes,
    "memory": _memories,
    "processes": _shared,
}


def _processes(bench: Bench, count: int) -> Measured:
    """Measure the stage in so many processes that share the partitions."""
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder())
        run = bench.run(folder, "uniform")
        create_topics(run.settings())
        runs = [
            replace(run, folder=str(stack.enter_context(working_folder())))
            for _ in range(count)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(count))
        found = list(pool.map(partial(measure, "shared"), runs))
        expected = bench.topic("uniform").expected()
        require_recount(profiles(run), expected, f"processes-{count}")
        bench.reference.forget(run.application)
    events = sum(one.events for one in found)
    cpu = sum(one.cpu_s_per_million * one.events for one in found) / events
    longest = max(one.wall_s for one in found)
    return Measured(events, longest, cpu, max(one.peak_rss_mb for one in found))


def _stage(  # noqa: PLR0913 - what differs
    bench: Bench,
    name: str,
    variant: str,
    *,
    memory: str = "1GB",
    attributes: int = 0,
    restored: bool = False,
) -> Points:
    """Measure the stage on a topic, and the restore of what it left.

    Profiles are compared where the attributes are the job's own.
    """
    with working_folder() as folder:
        run = replace(bench.run(folder, variant), memory=memory, attributes=attributes)
        found = measure("aggregate", run)
        if not attributes:
            require_recount(profiles(run), bench.topic(variant).expected(), name)
        yield Row(name, [found], checked=None if attributes else True)
    if restored:
        yield Row(f"{name}-restored", [_restored(run)])
    bench.reference.forget(run.application)


def _restored(run: Run) -> Measured:
    with working_folder() as folder:
        return measure("restore", replace(run, folder=str(folder)))


def main(words: Sequence[str] | None = None) -> int:
    """Measure the curves that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument(
        "--curves",
        default=",".join(CURVES),
        help="measure these alone, default %(default)s; a run of all of them draws "
        "docs/scale.svg and writes figures to docs/scale.md",
    )
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="a topic, default %(default)s"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="keep the rows there as JSON"
    )
    given = parser.parse_args(words)
    curves = given.curves.split(",")
    if unknown := {*curves} - CURVES.keys():
        parser.error(f"there are {', '.join(CURVES)}, not {', '.join(unknown)}")
    console = Console(highlight=False)
    rows: list[Row] = []
    failed = False
    try:
        with opened() as reference, ExitStack() as stack:
            bench = Bench(reference, given.events, console.print, stack)
            with working_folder() as folder:
                run = bench.run(folder, "uniform")
                rows.append(Row("floor", [measure("floor", run)]))
            for curve in curves:
                try:
                    _measure(CURVES[curve](bench), rows, console)
                except PosConsumerError as error:
                    # The others are measured all the same.
                    console.print(str(error), style="red", markup=False, soft_wrap=True)
                    rows.append(Row(curve, failed=error.what))
                    failed = True
    except PosConsumerError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    console.print(table(rows))
    if given.output:
        write(rows, given.output)
    if {*curves} == CURVES.keys():
        found = [row.figures() for row in rows]
        PLOT.write_text(plot(found, SHOWN, "What grows with what"), "utf-8")
        keep(PAGE, how(given.events, 1), found)
    return int(failed)


def _measure(points: Points, rows: list[Row], console: Console) -> None:
    """Measure the points of a curve."""
    for row in points:
        rows.append(row)
        (found,) = row.rounds
        console.print(
            f"{row.name}: {found.events_per_s:,.0f}/s, "
            f"{found.cpu_s_per_million:.2f} CPU s per million, "
            f"peak {found.peak_rss_mb:,.0f} MB, {found.wall_s:.1f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
