"""`python -m bench.scale`: what grows with visitors, attributes, memory, and restores.

Each curve is the aggregate stage on topics of the reference job that differ in one
thing; the floor is measured beside each point. `docs/scale.md` reads the curves.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from bench.check import profiles, require_recount
from bench.processes import measure
from bench.reference import opened, working_folder
from bench.results import Row, table, write
from bench.things import Bench
from consumer.errors import PosConsumerError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.job import Run
    from bench.meter import Measured

# With ten million visitors the store, some five gigabytes, is far larger than that.
SMALL_MEMORY: Final = "512MB"
VISITORS: Final = {"100k": 1, "1m": 1, "10m": 5}  # and times as many events
ATTRIBUTES: Final = (1, 3, 10, 30)
MEMORIES: Final = {"2GB": 2_000, "1GB": 1_000, "512MB": 512}  # in MB


def points(bench: Bench, curve: str) -> Iterator[tuple[str, Measured]]:
    """Measure the points of one curve, by name."""
    match curve:
        case "visitors":
            events = bench.events
            for visitors, times in VISITORS.items():
                bench.events = events * times
                memory = SMALL_MEMORY if visitors == "10m" else "1GB"
                variant = f"visitors-{visitors}"
                yield from _stage(bench, variant, variant, memory=memory, restored=True)
            bench.events = events
        case "attributes":
            for count in ATTRIBUTES:
                yield from _stage(
                    bench, f"attributes-{count}", "uniform", attributes=count
                )
        case "memory":
            for memory, most in MEMORIES.items():
                name = f"memory-{memory}"
                for point, found in _stage(bench, name, "uniform", memory=memory):
                    yield point, found
                    if found.peak_rss_mb > most:
                        raise SandboxError(
                            f"{name}: {found.peak_rss_mb:,.0f} MB were resident."
                        )


def _stage(  # noqa: PLR0913 - what differs
    bench: Bench,
    name: str,
    variant: str,
    *,
    memory: str = "1GB",
    attributes: int = 0,
    restored: bool = False,
) -> Iterator[tuple[str, Measured]]:
    """Measure the stage on a topic, and the restore of what it left."""
    with working_folder() as folder:
        run = replace(bench.run(folder, variant), memory=memory, attributes=attributes)
        yield name, measure("aggregate", run)
        if not attributes:
            require_recount(profiles(run), bench.topic(variant).expected(), name)
    if restored:
        yield f"{name}-restored", _restored(run)
    bench.reference.forget(run.application)


def _restored(run: Run) -> Measured:
    with working_folder() as folder:
        return measure("restore", replace(run, folder=str(folder)))


def main(words: Sequence[str] | None = None) -> int:
    """Measure the curves that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    curves = ("visitors", "attributes", "memory")
    parser.add_argument("--curves", default=",".join(curves))
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(words)
    console = Console(highlight=False)
    rows: list[Row] = []
    try:
        with opened() as reference, ExitStack() as stack:
            bench = Bench(reference, given.events, console.print, stack)
            with working_folder() as folder:
                run = bench.run(folder, "uniform")
                rows.append(Row("floor", [measure("floor", run)]))
            for curve in given.curves.split(","):
                for name, found in points(bench, curve):
                    rows.append(Row(name, [found]))
                    console.print(
                        f"{name}: {found.events_per_s:,.0f}/s, "
                        f"{found.cpu_s_per_million:.2f} CPU s per million, "
                        f"peak {found.peak_rss_mb:,.0f} MB, {found.wall_s:.1f} s"
                    )
    except PosConsumerError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    console.print(table(rows))
    if given.output:
        write(rows, given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
