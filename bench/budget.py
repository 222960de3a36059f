"""How latency and file size follow the load, under 50 calls a minute.

The upload stage itself, on the simulated clock and against the sandbox's account, so
that an hour takes seconds and every machine finds the same. Each load is a share of
what the budget's calls would carry with `max_rows` each; files are due with 200
rows here and grow to 1,000 while they wait: nothing but their rows is scaled, 1:500.

    python -m bench.budget            # measures, prints, and draws docs/budget.svg
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from bench.lines import Panel, draw
from consumer.clock import ManualClock
from consumer.sandbox.target import Endpoint, TargetOptions
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = Path(__file__).parents[1] / "docs"
LOADS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 2.4)
MAX_ROWS: Final = 200
CALLS: Final = 40  # a minute: 50 without the reserve
PROCESSING: Final = 150.0  # seconds; 5,000 to 20,000 rows take minutes at Adobe
WARM_UP: Final = 12  # minutes
MINUTES: Final = 20
POPULATION: Final = 60  # minutes in which the full budget sends each visitor once


@dataclass(frozen=True, slots=True)
class Point:
    """One load: `load` is its share of the budget, the rest is what came of it.

    Seconds are from a change until Target has taken a row with it. Calls are a minute.
    `waiting_rows` and `in_flight` (batches without an end) are those at the end.
    """

    load: float
    rows_per_file: float
    p50_s: float
    p99_s: float
    submits: float
    statuses: float
    waiting_rows: int
    in_flight: int


async def measure(load: float) -> Point:
    """Run one load until it has settled, then measure."""
    options = TargetOptions(processing_time=PROCESSING)
    batch = {"max_rows": MAX_ROWS, "most_rows": 5 * MAX_ROWS, "max_age": "30s"}
    world = World(ManualClock(), options, seed=1, partitions=6, target={"batch": batch})
    per_second = load * CALLS * MAX_ROWS / 60
    visitors = POPULATION * CALLS * MAX_ROWS
    changed: dict[str, list[float]] = {}
    try:
        await world.share(1)
        owed = 0.0
        for _ in range((WARM_UP + MINUTES) * 60):
            owed += per_second
            for _ in range(int(owed)):
                visitor = f"v-{world.random.randrange(visitors)}"
                world.change(visitor)
                changed.setdefault(visitor, []).append(world.clock.now())
            owed %= 1
            await world.clock.run_for(1)
        return _point(world, load, changed)
    finally:
        await world.close()


def _point(world: World, load: float, changed: dict[str, list[float]]) -> Point:
    until = world.clock.now()
    since = until - 60 * MINUTES
    sizes: dict[str, int] = {}
    waits = []
    told: dict[str, int] = {}
    for row in world.account.journal.rows():
        version = int(row.attributes["version_seen"])
        oldest = told.get(row.visitor, 0)
        told[row.visitor] = max(version, oldest)
        if row.at >= since:
            sizes[row.batch_id] = sizes.get(row.batch_id, 0) + 1
            waits += [row.at - at for at in changed[row.visitor][oldest:version]]
    calls = [call.endpoint for call in world.account.journal.calls if call.at >= since]
    stage = world.replicas[0].stage
    return Point(
        load=load,
        rows_per_file=float(np.mean(list(sizes.values()))),
        p50_s=float(np.quantile(waits, 0.5)),
        p99_s=float(np.quantile(waits, 0.99)),
        submits=calls.count(Endpoint.SUBMIT) / MINUTES,
        statuses=calls.count(Endpoint.STATUS) / MINUTES,
        waiting_rows=stage._context.pending.waiting,  # noqa: SLF001 - a bench looks in
        in_flight=len(stage._confirmation._open),  # noqa: SLF001 - the same
    )


def picture(points: Sequence[Point]) -> str:
    """Draw latency, file size and calls over the load."""
    loads = [100 * one.load for one in points]
    share = [100 * one.rows_per_file / MAX_ROWS for one in points]
    return draw(
        "load, % of what 40 files of max_rows a minute carry",
        loads,
        (
            Panel(
                "Seconds from a change until Target has taken it",
                {"median": [p.p50_s for p in points], "p99": [p.p99_s for p in points]},
                log=True,
            ),
            Panel("Rows of a file, % of max_rows", {"mean": share}, log=True),
            Panel(
                "Calls a minute (40 are allowed)",
                {
                    "files": [one.submits for one in points],
                    "statuses": [one.statuses for one in points],
                },
            ),
        ),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure all loads, print a JSON line each, and draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.budget")
    parser.add_argument("--output", type=Path, default=PAGE / "budget.svg")
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    given = parser.parse_args(words)
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    points = []
    for load in given.loads:
        points.append(asyncio.run(measure(load)))
        print(json.dumps(asdict(points[-1])), flush=True)
    given.output.write_text(picture(points), encoding="utf-8")


if __name__ == "__main__":
    main()
