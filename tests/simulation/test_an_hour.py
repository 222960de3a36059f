"""An hour at five times the budget, a tenth of the calls failing, and rebalances."""

from __future__ import annotations

import pytest

from consumer.clock import ManualClock
from consumer.sandbox.target import Endpoint, Fault, FaultKind, TargetOptions
from consumer.sandbox.target.faults import ALWAYS
from tests.simulation.world import World

HOUR = 3_600
MINUTE = 60
STEP = 5  # seconds
ROWS = 6  # of a file
VISITORS = 400
CHANGES = 5 * 40 * ROWS * STEP // MINUTE  # a step: five times what 40 full files carry
SUBMIT_FAULTS = {
    FaultKind.HTTP_503: 0.02,
    FaultKind.HTTP_500: 0.02,
    FaultKind.LOST: 0.015,
    FaultKind.NO_ANSWER: 0.015,
    FaultKind.UNSUCCESSFUL: 0.01,
    FaultKind.STUCK: 0.005,
    FaultKind.FAILED_UPDATES: 0.005,
}
LATE = {30.0: 0.3, 500.0: 0.2}  # seconds: batches land in no order
STATUS_FAULTS = {
    FaultKind.HTTP_500: 0.04,
    FaultKind.LOST: 0.04,
    FaultKind.HTTP_503: 0.01,
    FaultKind.FORGOTTEN: 0.01,
}


def world(*, partitions: int = 6, seed: int = 7) -> World:
    """Make a site whose batches take two minutes, and where things go wrong."""
    made = World(
        ManualClock(),
        TargetOptions(processing_time=120.0),
        seed=seed,
        partitions=partitions,
        target={
            "batch": {"max_rows": ROWS, "most_rows": ROWS, "max_age": "5s"},
            "delivery": {"first_poll": "1m", "confirm_timeout": "10m"},
        },
    )
    made.order(
        *(
            Fault(kind, calls=ALWAYS, probability=chance, rows=3)
            for kind, chance in SUBMIT_FAULTS.items()
        ),
        *(
            Fault(FaultKind.SLOW, calls=ALWAYS, probability=chance, seconds=seconds)
            for seconds, chance in LATE.items()
        ),
        *(
            Fault(kind, calls=ALWAYS, probability=chance, on=Endpoint.STATUS)
            for kind, chance in STATUS_FAULTS.items()
        ),
    )
    return made


async def last_words(site: World) -> None:
    """Change every visitor twice more, with nothing after it to mend what fails."""
    site.order(
        *(
            Fault(kind, calls=ALWAYS, probability=0.1, rows=3, seconds=450.0)
            for kind in (FaultKind.STUCK, FaultKind.FAILED_UPDATES, FaultKind.NO_ANSWER)
        )
    )
    for minutes in (4, 15):
        for number in range(VISITORS):
            site.change(f"v-{number}")
        await site.clock.run_for(minutes * MINUTE)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("replicas", [1, 3, 5])
async def test_an_hour_of_overload_faults_and_rebalances(replicas: int) -> None:
    """Never over 50 calls in 60 s, memory bounded, and the latest row everywhere."""
    site = world()
    most_bytes = 0
    try:
        await site.share(replicas)
        for second in range(0, HOUR, STEP):
            for _ in range(CHANGES):
                site.change(f"v-{site.random.randrange(VISITORS)}")
            await site.clock.run_for(STEP)
            if second % (7 * MINUTE) == 5 * MINUTE:
                await site.share(replicas)
            if second % (13 * MINUTE) == 11 * MINUTE:
                await site.crash(site.random.randrange(replicas))
            used = sum(replica.pending_bytes for replica in site.replicas)
            most_bytes = max(most_bytes, used)
        sent = site.account.journal.count(Endpoint.SUBMIT)
        await last_words(site)
        site.account.faults.cancel()
        for minute in range(4 * 60):
            if minute % 10 == 0:
                site.unstick()
            await site.clock.run_for(MINUTE)
            if site.settled:
                break
        assert site.settled, "everything is committed and every batch has ended"
        assert site.behind() == {}
        assert site.account.journal.violations == []
        assert site.account.journal.busiest_minute() <= 50
        assert sent > 0.4 * 40 * MINUTE, "the budget was used"
        assert most_bytes < 4 * VISITORS * 100, "bytes follow visitors, not records"
        assert site.halted == set()
        assert site.rejected.rows == []
    finally:
        await site.close()
