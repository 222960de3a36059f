"""What is kept goes wrong: stores, committed offsets, transactions of others."""

from __future__ import annotations

import resource
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults import runs
from tests.faults.arena import Plan
from tests.faults.oracle import check
from tests.faults.perils import CHANGES, DAMAGES

if TYPE_CHECKING:
    from tests.faults.conftest import Arenas


def test_a_store_deleted_or_damaged(arenas: Arenas) -> None:
    """It is rebuilt from the topics, partition by partition."""
    arena = arenas(Plan(static=True))
    arena.produce()
    one = arena.start()
    for damage in arena.random.sample(DAMAGES, len(DAMAGES)):
        arena.wait_committing(transactions=4)
        if arena.random.random() < 0.5:
            one.kill()
        else:
            arena.drain(0)
        stores = sorted((one.work.folder / "state").glob("partition-*"))
        for store in arena.random.sample(stores, 2):
            damage(store)
        one.start()
    arena.finish()
    check(arena)


def test_committed_offsets_deleted_or_reset(arenas: Arenas) -> None:
    """The state's own position counts, whatever the group's offsets say."""
    arena = arenas()
    arena.produce()
    one = arena.start()
    for change in arena.random.sample(CHANGES, len(CHANGES)):
        arena.wait_committing(transactions=4)
        arena.drain(0)
        change(arena)
        one.start()
    arena.finish()
    check(arena)


@pytest.mark.sample
def test_an_open_transaction_does_not_hide_what_was_committed_behind_it(
    arenas: Arenas,
) -> None:
    """A takeover reads `profiles` and `state` to the ends behind it, and waits."""
    runs.hanging_transaction(arenas())


@pytest.mark.sample
def test_a_producer_fenced_by_its_own_id(arenas: Arenas) -> None:
    """What was not committed is dropped, also locally, and done again."""
    runs.fenced_producer(arenas())


def test_a_state_folder_cloned_to_a_second_instance(arenas: Arenas) -> None:
    """Two processes with one transactional id part ways; both go on, rightly."""
    arena = arenas()
    one = arena.start(0)
    arena.wait_ready()
    arena.produce()
    arena.wait_committing(transactions=4)
    one.kill()
    two = arena.add()
    shutil.copytree(one.work.folder / "state", two.work.folder / "state")
    one.start()
    arena.sleep_between(0.0, 2.0)
    two.start()
    arena.wait_ready(0, 1)
    arena.sleep(8.0)
    arena.finish()
    ids = {
        (instance.work.folder / "state" / "replica-id").read_text(encoding="utf-8")
        for instance in arena.instances
    }
    assert len(ids) == 2
    check(arena)


def test_no_room_for_the_store(arenas: Arenas) -> None:
    """A store that cannot grow halts its partition; a restart with room goes on."""
    arena = arenas(Plan(visitors=20_000))
    one = arena.start()
    arena.wait_ready()
    arena.produce()
    arena.wait_committing(transactions=4)
    limits = resource.prlimit(one.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (200_000, limits[1]))
    arena.wait_for(
        lambda: (
            one.metrics().total(
                "pos_consumer_partition_halted", reason="store_write_failed"
            )
            > 0
        ),
        "no partition is halted",
        one,
    )
    one.drain(40.0)
    one.start()
    arena.finish()
    check(arena)


def test_clocks_that_disagree_and_jump(arenas: Arenas) -> None:
    """Clocks days ahead and behind change no profile, nor do they on the way."""
    arena = arenas()
    arena.produce()
    arena.start(0, clock_ahead=3 * 86_400.0)
    two = arena.start(1, clock_ahead=-86_400.0)
    arena.wait_ready(0, 1)
    arena.wait_committing(1, transactions=4)
    two.set_clock(60.0)
    arena.instances[0].kill()
    arena.sleep_between(0.0, 3.0)
    arena.start(0, clock_ahead=-3_600.0)
    arena.finish()
    check(arena)
