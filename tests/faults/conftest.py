"""What the fault runs share: a broker behind a wire, and arenas to run in.

They take minutes and are no part of the default run; those marked `sample` are what CI
runs. A failing run says how to repeat it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from consumer.sandbox.kafka import prepare
from tests.faults.arena import Arena, Plan, World
from tests.faults.broker import broker_with_wire
from tests.faults.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_HERE = Path(__file__).parent
SEED_OPTION = "--fault-seed"
RUN_SECONDS = 480  # on a machine that has other things to do


class Arenas(Protocol):
    """Makes the arena of a run; it ends with the test."""

    def __call__(self, plan: Plan | None = None) -> Arena:
        """Make its topics; nothing runs and nothing is produced yet."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run be repeated, or others be drawn."""
    parser.addoption(
        SEED_OPTION, type=int, default=1, help="The first seed of the fault runs."
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(RUN_SECONDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Kafka, once per user, outside of any test's time limit."""
    chosen = any(_HERE in item.path.parents for item in session.items)
    if chosen and not session.config.option.collectonly:
        prepare()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failing run how to repeat it."""
    report = yield
    if report.when == "call" and report.failed and _HERE in item.path.parents:
        seed = item.config.getoption(SEED_OPTION)
        report.sections.append(
            (
                "repeat it",
                f"make faults ARGS='-k \"{item.name}\" {SEED_OPTION} {seed}'",
            )
        )
    return report


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """One broker behind a wire for all runs."""
    with Loop() as loop, broker_with_wire(loop) as (kafka, wire):
        yield World(loop, kafka, wire)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed: the option's, or as many further as the run's `turn`."""
    first: int = request.config.getoption(SEED_OPTION)
    callspec = getattr(request.node, "callspec", None)
    return first + (callspec.params.get("turn", 0) if callspec else 0)


@pytest.fixture
def arenas(
    world: World, seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Arenas]:
    """Arenas of this test, named after it."""
    with ExitStack() as stack:
        made: list[Arena] = []

        def make(plan: Plan | None = None) -> Arena:
            number = len(made)
            folder = tmp_path / f"arena-{number}"
            folder.mkdir()
            name = "".join(c if c.isalnum() else "-" for c in request.node.name)
            arena = Arena(
                world=world,
                plan=plan or Plan(),
                name=f"{name.strip('-')[:80]}-{number}",
                seed=seed,
                folder=folder,
                stack=stack,
            )
            made.append(arena)
            return stack.enter_context(arena)

        yield make
