"""`make screenshots`: pictures of the status page of a running service, for docs/.

In order, and then in trouble: Target refuses the token, a partition has halted.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.sandbox.chromium import Chromium, Screen
from consumer.sandbox.target import Fault, FaultKind
from consumer.sandbox.target.faults import ALWAYS
from consumer.sandbox.target.options import TargetOptions
from tests.observe.site import Site, foreign_key, site

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER: Final = Path(__file__).parents[2] / "docs" / "status"
SCREENS: Final = {
    "desktop": Screen(1_200),
    "desktop-dark": Screen(1_200, dark=True),
    "phone": Screen(390, phone=True),
    "phone-dark": Screen(390, phone=True, dark=True),
}
RATE: Final = 2_000.0
HEALTHY_SECONDS: Final = 90.0
PATIENCE: Final = 90.0


async def pictures(browser: Chromium, running: Site, state: str) -> None:
    """Take all pictures of the page as it is now."""
    url = f"http://127.0.0.1:{running.works[0].port}/"
    FOLDER.mkdir(exist_ok=True)
    for name, screen in SCREENS.items():
        picture = await browser.picture(url, screen)
        (FOLDER / f"{state}-{name}.png").write_bytes(picture.png)


async def until(done: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(done):
        if time.monotonic() > deadline:
            sys.exit("It does not come into the state that was to be shown.")
        await asyncio.sleep(0.5)


async def main() -> None:
    """Run the service, picture it, trouble it, picture it again."""
    options = TargetOptions(processing_time=3.0)
    values = {"max_age": 'max_age = "10s"'}  # so that calls suffice
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        with Chromium(folder / "chromium") as browser:
            async with site(
                folder, options=options, rate=RATE, values=values
            ) as running:
                await asyncio.sleep(HEALTHY_SECONDS)
                await pictures(browser, running, "healthy")
                running.target.order(Fault(FaultKind.HTTP_503, calls=3))
                await until(lambda: running.target.account.faults.open() == [])
                running.target.order(Fault(FaultKind.UNAUTHORIZED, calls=ALWAYS))
                await asyncio.to_thread(foreign_key, running)
                halted = "pos_consumer_partition_halted == 1"
                refused = (
                    'pos_consumer_upload_batches_total{outcome="unauthorised"} > 0'
                )
                await until(lambda: running.prometheus.query(halted))
                await until(lambda: running.prometheus.query(refused))
                await asyncio.sleep(10.0)
                await pictures(browser, running, "trouble")


if __name__ == "__main__":
    asyncio.run(main())
