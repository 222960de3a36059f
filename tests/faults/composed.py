"""Random compositions of faults: `python -m tests.faults.composed --runs 100`.

A seed draws the instances, how they are members of their groups, and faults that
follow and overlap each other. Every run is checked like any other. The command goes on
after a failing run, keeps its folder, and sums up in the end.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.arena import Arena, Plan, World
from tests.faults.broker import broker_with_wire
from tests.faults.loop import Loop
from tests.faults.oracle import check
from tests.faults.perils import PERILS, REBUILT, clock_wrong, rebuilt

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.faults.perils import Kind

# A broker serves so many runs: what one leaves behind burdens the next ones.
RUNS_A_BROKER: Final = 20
SETTLE_SECONDS: Final = 120.0
OVERLAP: Final = 0.5
MEMBERSHIPS: Final = (
    Plan(),
    Plan(static=True),
    Plan(strategy="range"),
    Plan(protocol="consumer"),
    Plan(protocol="consumer", static=True),
)


@dataclass(frozen=True, slots=True)
class Composition:
    """What a seed has drawn."""

    seed: int
    plan: Plan
    instances: int
    kinds: tuple[Kind, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        how = self.plan.strategy or self.plan.protocol
        marks = ", static" if self.plan.static else ""
        marks += ", a day passes" if self.plan.slides else ""
        faults = ", ".join(kind.name for kind in self.kinds)
        return f"{self.instances} of {how}{marks}: {faults}"


def compose(seed: int) -> Composition:
    """Draw a composition."""
    drawn = random.Random(f"composition {seed}")
    slides = drawn.choice([False, False, True])
    # With a wrong clock nobody could say what day a profile is to be as of.
    possible = [k for k in PERILS if not slides or k.peril is not clock_wrong]
    kinds = tuple(drawn.choices(possible, k=drawn.randint(2, 4)))
    plan = replace(
        drawn.choice(MEMBERSHIPS),
        slides=slides,
        wired=any("wire" in kind.needs for kind in kinds),
        rebuilt=frozenset(REBUILT if any(k.peril is rebuilt for k in kinds) else ()),
        partitions=drawn.choice([1, 4, 4, 6]),
        visitors=drawn.choice([50, 1_500, 10_000]),
        rate=drawn.choice([300.0, 1_500.0]),
    )
    return Composition(seed, plan, drawn.randint(1, 3), kinds)


def play(arena: Arena, composition: Composition) -> None:
    """Make one run of it, to the end and the checks."""
    for number in range(composition.instances):
        arena.start(number)
    arena.produce()
    arena.sleep_between(0.5, 5.0)
    pending: list[tuple[Kind, Generator[None, None, None]]] = []
    midnight = arena.random.choice(composition.kinds)
    for kind in composition.kinds:
        if composition.plan.slides and kind is midnight:
            arena.pass_midnight()
        for other in [one for one in pending if one[0].needs & kind.needs]:
            pending.remove(other)
            _mend(other[1])
        fault = kind.peril(arena)
        next(fault)
        pending.append((kind, fault))
        arena.sleep_between(0.0, 3.0)
        if not kind.lasts and arena.random.random() > OVERLAP:
            _mend(pending.pop()[1])
            arena.sleep_between(0.0, 3.0)
    for _, fault in sorted(pending, key=lambda one: one[0].lasts):
        _mend(fault)
    if not any(one.running for one in arena.instances):
        arena.start()
    arena.finish(SETTLE_SECONDS)
    check(arena)


def _mend(fault: Generator[None, None, None]) -> None:
    for _ in fault:
        pass


def main() -> int:
    """Run compositions and say what became of them; 1 where any failed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=10, help="how many seeds")
    asked.add_argument("--seed", type=int, default=1, help="the first of them")
    options = asked.parse_args()
    seeds = range(options.seed, options.seed + options.runs)
    failed = [seed for seed, held in _runs(seeds) if not held]
    print(f"{len(seeds) - len(failed)} of {len(seeds)} runs held.")  # noqa: T201 - the command's output
    if failed:
        print("Failed:", *failed)  # noqa: T201 - the command's output
    return 1 if failed else 0


def _runs(seeds: range) -> Iterator[tuple[int, bool]]:
    for at in range(0, len(seeds), RUNS_A_BROKER):
        with Loop() as loop, broker_with_wire(loop) as (kafka, wire):
            world = World(loop, kafka, wire)
            for seed in seeds[at : at + RUNS_A_BROKER]:
                yield seed, _run(world, seed)


def _run(world: World, seed: int) -> bool:
    composition = compose(seed)
    print(f"seed {seed}: {composition} ", end="", flush=True)  # noqa: T201 - the command's output
    folder = Path(tempfile.mkdtemp(prefix=f"composed-{seed}-"))
    begun = time.monotonic()
    try:
        with ExitStack() as stack:
            arena = Arena(
                world=world,
                plan=composition.plan,
                name=f"composed-{seed}",
                seed=seed,
                folder=folder,
                stack=stack,
            )
            play(stack.enter_context(arena), composition)
    except Exception:  # noqa: BLE001 - it is what the run has found
        print(  # noqa: T201 - the command's output
            f"\n  FAILED, its logs are in {folder}; again with\n"
            f'  make faults-random ARGS="--runs 1 --seed {seed}"\n',
            traceback.format_exc(),
            flush=True,
        )
        return False
    shutil.rmtree(folder)
    print(f"-> held, {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201 - the command's output
    return True


if __name__ == "__main__":
    sys.exit(main())
