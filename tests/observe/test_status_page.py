"""A real browser draws the status page: nothing sticks out, on any screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.clock import ManualClock
from consumer.sandbox.chromium import Chromium, Screen
from consumer.telemetry.health import Health
from consumer.telemetry.status import BatchStatus, PartitionStatus, StatusBoard
from consumer.telemetry.status_page import page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all pictures."""
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def at_its_worst() -> str:
    """Return a page with all that can be long on it."""
    clock = ManualClock(now=1_764_000_000.0)
    board, health = StatusBoard(clock.now), Health()
    component = health.component("aggregate")
    component.wait("restoring 17 partitions")
    component.degrade({"partition 255": "a_reason_that_is_as_long_as_it_can_be. " * 4})
    for number in (0, 17, 255):
        for stage in ("rekey", "aggregate", "upload"):
            state = "halted: partition_count_changed_and_more"
            board.partition(PartitionStatus(stage, number, state))
            board.partition(
                PartitionStatus(stage, number + 1, "running", 10**12, 10**10, 10**6)
            )
        board.partition(PartitionStatus("aggregate", number + 2, "restoring", None, 5))
    for number in range(20):
        board.batch(
            BatchStatus(str(number), clock.now(), 500_000, 50_000_000, "unauthorised")
        )
    board.trouble("warning", "reason=" + "x" * 290)
    return page("an application with a long name", health, board)


@pytest.mark.parametrize("width", [320, 390, 768, 1_280])
@pytest.mark.parametrize("dark", [False, True])
async def test_nothing_sticks_out(
    chromium: Chromium, tmp_path: Path, width: int, *, dark: bool
) -> None:
    """The page is as wide as the screen, from a small phone to a desktop."""
    path = tmp_path / "page.html"
    path.write_text(at_its_worst(), "utf-8")
    screen = Screen(width, dark=dark, phone=width < 768)
    picture = await chromium.picture(path.as_uri(), screen)
    assert picture.png.startswith(PNG)
    assert picture.content_width == width


async def test_it_is_dark_where_the_reader_wants_it_dark(
    chromium: Chromium, tmp_path: Path
) -> None:
    """The two pictures differ, without a setting."""
    path = tmp_path / "page.html"
    path.write_text(at_its_worst(), "utf-8")
    light = await chromium.picture(path.as_uri(), Screen(390))
    dark = await chromium.picture(path.as_uri(), Screen(390, dark=True))
    assert light.png != dark.png
