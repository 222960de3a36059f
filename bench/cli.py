"""`python -m bench`: choose, load, measure in rounds, print, keep."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from bench.page import keep
from bench.peers import PeerUnavailable
from bench.plot import plot
from bench.processes import ROOT
from bench.reference import opened
from bench.results import Row, how, steps, table, write
from bench.things import THINGS, Bench, Thing
from consumer.errors import PosConsumerError

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = Path(__file__).with_name("results.json")
PLOT: Final = ROOT / "docs" / "bench.svg"
PAGE: Final = ROOT / "docs" / "bench.md"
EVENTS: Final = 2_000_000
QUICK_EVENTS: Final = 400_000
ROUNDS: Final = 3
WIDTH: Final = 130  # where nobody looks on, as in a file
QUICK: Final = ("floor", "service")
EPILOG: Final = """\
things (in the order in which a round measures them):
{things}

examples:
  python -m bench                       everything, three rounds: about half an hour
  python -m bench --quick               the floor and the service: under two minutes
  python -m bench --only floor,aggregate-uniform --events 1000000 --rounds 1
  python -m bench --without quix,kafka-streams

Topics are loaded once for each number of events and kept in the user's cache folder
(pos-consumer/bench); remove that folder to free the disk. A round measures each thing
once; what shares the machine disturbs all of them alike, so compare the rows of one
run, CPU seconds more than events a second. docs/bench.md says how to read the table.
"""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with a sentence where it is wrong."""
    width = max(len(thing.name) for thing in THINGS)
    things = "\n".join(f"  {one.name:{width}}  {one.about}" for one in THINGS)
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the service and its peers on one job, side by side.",
        epilog=EPILOG.format(things=things),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", metavar="NAME[,NAME]", help="measure these things alone"
    )
    parser.add_argument("--without", metavar="NAME[,NAME]", help="leave these out")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"the floor and the service on {QUICK_EVENTS:,} events, one round",
    )
    parser.add_argument(
        "--at-most",
        type=float,
        metavar="TIMES",
        help="fail where a thing's least CPU time is over so many times the floor's",
    )
    parser.add_argument("--rounds", type=_positive, help=f"default {ROUNDS}")
    parser.add_argument(
        "--events", type=_positive, help=f"events a topic, default {EVENTS:,}"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="keep the rows there as JSON; a run of everything keeps them in "
        "bench/results.json, draws docs/bench.svg and writes figures to docs/bench.md",
    )
    given = parser.parse_args(words)
    given.things = _chosen(parser, given)
    given.rounds = given.rounds or (1 if given.quick else ROUNDS)
    given.events = given.events or (QUICK_EVENTS if given.quick else EVENTS)
    given.whole = len(given.things) == len(THINGS)
    given.output = given.output or (RESULTS if given.whole else None)
    return given


def _chosen(parser: argparse.ArgumentParser, given: argparse.Namespace) -> list[Thing]:
    known = [thing.name for thing in THINGS]
    default = QUICK if given.quick else known
    only = given.only.split(",") if given.only else default
    without = given.without.split(",") if given.without else []
    for name in (*only, *without):
        if name not in known:
            parser.error(f"{name!r} is not measured; there are: {', '.join(known)}")
    return [one for one in THINGS if one.name in only and one.name not in without]


def _positive(text: str) -> int:
    number = int(text.replace("_", "").replace(",", ""))
    if number < 1:
        message = "expected a whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return number


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a profile is wrong or something broke."""
    given = arguments(words)
    # An exit in order ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    rows = [Row(thing.name) for thing in given.things]
    console.print(how(given.events, given.rounds))
    failed = False
    try:
        with opened() as reference, ExitStack() as stack:
            bench = Bench(reference, given.events, console.print, stack)
            for thing in given.things:
                for variant in thing.variants:
                    bench.topic(variant)
            for number in range(given.rounds):
                for thing, row in zip(given.things, rows, strict=True):
                    failed |= not _once(bench, thing, row, console, number)
    except PosConsumerError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return int(_told(rows, given, console) or failed)


def _told(rows: list[Row], given: argparse.Namespace, console: Console) -> bool:
    """Print the rows and keep them; tell whether one costs more than it may."""
    console.print(table(rows))
    if any(row.rounds and row.rounds[0].seconds_by_step for row in rows):
        console.print(steps(rows))
    if given.output:
        write(rows, given.output)
        console.print(f"Kept in {given.output}.")
    if given.whole:
        PLOT.write_text(plot([row.figures() for row in rows]), "utf-8")
        keep(PAGE, how(given.events, given.rounds), [row.figures() for row in rows])
    return bool(given.at_most) and _too_dear(rows, given.at_most, console)


def _too_dear(rows: list[Row], limit: float, console: Console) -> bool:
    """Say what costs over `limit` times the floor, each in its cheapest round."""
    least = {row.name: row.least_cpu for row in rows if row.rounds}
    floor = least.pop("floor", None)
    if floor is None:
        console.print("--at-most needs the floor, which was not measured.", style="red")
        return True
    dear = {name: cpu / floor for name, cpu in least.items() if cpu > limit * floor}
    for name, times in dear.items():
        console.print(
            f"{name} costs {times:.1f} times the floor, more than {limit:g} times: "
            "docs/bench.md says how to find what became dearer.",
            style="red",
        )
    return bool(dear)


def _once(bench: Bench, thing: Thing, row: Row, console: Console, number: int) -> bool:
    """Measure a thing once, unless it was skipped before; tell whether all is well.

    A round that failed is left out, and said: that the others were right is a figure,
    too.
    """
    if row.skipped:
        return True
    began = time.monotonic()
    try:
        found = thing.measure(bench)
    except PeerUnavailable as error:
        console.print(f"{thing.name} is skipped: {error}", markup=False)
        row.skipped = error.what
        return True
    except PosConsumerError as error:
        console.print(f"{thing.name}: {error}", style="red", markup=False)
        row.failed = f"Round {number + 1}: {error.what.splitlines()[-1]}"
        return False
    row.rounds.append(found)
    row.checked = True if thing.checked else None
    console.print(
        f"round {number + 1}: {thing.name}: {found.events_per_s:,.0f} events/s, "
        f"{found.cpu_s_per_million:.2f} CPU s per million "
        f"({time.monotonic() - began:.0f} s)"
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
