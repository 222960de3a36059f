"""Single faults, each a generator: what it breaks before `yield` it mends behind it.

Between the two a run can do anything else, also break the next thing. A fault takes
what it needs from the arena's seed. `PERILS` names them all, with what they need: two
that need the same thing never overlap.
"""

from __future__ import annotations

import resource
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from consumer.failpoints import NAMES
from tests.faults.arena import DRAIN_SECONDS, Failed
from tests.faults.broker import SESSION_SECONDS
from tests.faults.rival import rival
from tests.faults.wire import END_TXN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.faults.arena import Arena
    from tests.faults.instance import Instance

    Peril = Callable[[Arena], Generator[None, None, None]]

# Longer than a call to the broker waits, and than a transaction lasts.
TOO_LATE_SECONDS: Final = 12.0
MOST_INSTANCES: Final = 4
PASSED_SECONDS: Final = 10.0
PHASES: Final = [n for n in NAMES if "rekey" not in n]  # nothing is, in these runs
EMPTY_SECONDS: Final = 20.0
REBUILT: Final = ("units", "favourite_category")  # by the definitions they have
REBUILD_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 3.0
WRONG_SECONDS: Final = (-86_400.0, -60.0, 3_600.0, 3 * 86_400.0)


def some(arena: Arena) -> Instance:
    """Choose an instance that runs; start one where none does."""
    running = [one for one in arena.instances if one.running and not one.frozen]
    return arena.random.choice(running) if running else arena.start(0)


def killed(arena: Arena) -> Generator[None, None, None]:
    """SIGKILL at any moment."""
    one = some(arena)
    one.kill()
    yield
    one.start()


def drained(arena: Arena) -> Generator[None, None, None]:
    """SIGTERM at any moment; it ends, well or not, in time."""
    one = some(arena)
    if one.drain(DRAIN_SECONDS) is None:
        raise Failed(f"Instance {one.number} does not end:\n{one.last_words()}")
    yield
    one.start()


def frozen(arena: Arena) -> Generator[None, None, None]:
    """SIGSTOP at any moment, for less than a session or for more."""
    one = some(arena)
    one.freeze()
    yield
    arena.sleep_between(0.0, SESSION_SECONDS + 4.0)
    one.thaw()


def joined(arena: Arena) -> Generator[None, None, None]:
    """One more instance comes; in the end it is drained, killed, or stays."""
    if len(arena.instances) >= MOST_INSTANCES:
        yield from killed(arena)
        return
    one = arena.start(len(arena.instances))
    yield
    match arena.random.randrange(3):
        case 0:
            one.drain(DRAIN_SECONDS)
        case 1:
            one.kill()


def killed_in_a_phase(arena: Arena) -> Generator[None, None, None]:
    """SIGKILL at a named boundary."""
    one = some(arena)
    one.kill()
    one.start(failpoint=_order(arena, "kill"))
    yield
    one.wait(PASSED_SECONDS)
    one.start()


def frozen_in_a_phase(arena: Arena) -> Generator[None, None, None]:
    """SIGSTOP at a named boundary until others have taken over."""
    one = some(arena)
    one.kill()
    one.start(failpoint=_order(arena, "stop"))
    yield
    if one.wait_frozen(PASSED_SECONDS):
        arena.sleep_between(0.0, SESSION_SECONDS + 4.0)
        one.thaw()
    else:  # or it would freeze when nobody looks any more
        one.kill()
        one.start()


def stopped_in_a_phase(arena: Arena) -> Generator[None, None, None]:
    """SIGTERM at a named boundary."""
    one = some(arena)
    one.kill()
    one.start(failpoint=_order(arena, "stop"))
    yield
    if one.wait_frozen(PASSED_SECONDS):
        one.terminate()
        one.thaw()
        if one.wait(DRAIN_SECONDS) is None:
            raise Failed(f"Instance {one.number} does not end:\n{one.last_words()}")
    else:
        one.kill()
    one.start()


def too_long_in_a_phase(arena: Arena) -> Generator[None, None, None]:
    """A step takes longer than a transaction may."""
    one = some(arena)
    one.kill()
    name = arena.random.choice(["after-produce", "after-send-offsets", "after-fold"])
    turn = arena.random.randint(1, 4)
    one.start(failpoint=f"{name}:{turn}:sleep={TOO_LATE_SECONDS}")
    yield


def _order(arena: Arena, action: str) -> str:
    ticks = arena.plan.slides
    name = arena.random.choice([n for n in PHASES if ticks or "tick" not in n])
    turn = 1 if "tick" in name else arena.random.randint(1, 4)
    return f"{name}:{turn}:{action}"


def broker_killed(arena: Arena) -> Generator[None, None, None]:
    """SIGKILL for the broker, then a start on what its disk holds."""
    arena.world.kafka.kill()
    yield
    arena.world.kafka.restart()


def broker_frozen(arena: Arena) -> Generator[None, None, None]:
    """SIGSTOP for the broker: connections stay open, nothing answers."""
    arena.world.kafka.pause()
    yield
    arena.sleep_between(0.0, TOO_LATE_SECONDS)
    arena.world.kafka.resume()


def end_too_late(arena: Arena) -> Generator[None, None, None]:
    """The end of a transaction reaches the broker when nobody waits for it."""
    arena.world.wire.hold(END_TXN, TOO_LATE_SECONDS)
    yield


def slow_wire(arena: Arena) -> Generator[None, None, None]:
    """Every request takes a while."""
    arena.world.wire.latency = arena.random.uniform(0.02, 0.3)
    yield
    arena.sleep_between(0.0, 5.0)
    arena.world.wire.latency = 0.0


def torn_wire(arena: Arena) -> Generator[None, None, None]:
    """All connections are reset, again and again."""
    for _ in range(arena.random.randint(1, 4)):
        arena.world.loop.call(arena.world.wire.reset)
        arena.sleep_between(0.0, 1.0)
    yield


def fenced(arena: Arena) -> Generator[None, None, None]:
    """Somebody else takes a transactional id over, once or twice."""
    for _ in range(arena.random.randint(1, 2)):
        folder = some(arena).work.folder / "state" / "replica-id"
        if folder.exists():
            replica = folder.read_text(encoding="utf-8")
            rival(arena, f"{arena.name}-{replica}", 10)
        arena.sleep_between(0.0, 2.0)
    yield


def hanging(arena: Arena) -> Generator[None, None, None]:
    """Somebody else holds a transaction on our topics open."""
    other = rival(arena, f"{arena.name}-someone-else", 60)
    other.begin_transaction()
    for number in range(arena.plan.partitions):
        for topic in ("profiles", "state"):
            other.produce(arena.own(topic), None, b"of someone else", number)
    other.flush(30)
    yield
    other.abort_transaction(30)


def store_damaged(arena: Arena) -> Generator[None, None, None]:
    """Stores are deleted, cut or overwritten while their owner is down."""
    one = some(arena)
    one.kill()
    stores = sorted((one.work.folder / "state").glob("partition-*"))
    for store in arena.random.sample(stores, min(2, len(stores))):
        arena.random.choice(DAMAGES)(store)
    yield
    one.start()


def delete(store: Path) -> None:
    """Lose a store."""
    shutil.rmtree(store)


def cut(store: Path) -> None:
    """Lose half of a store's file."""
    with (store / "data.mdb").open("r+b") as file:
        file.truncate((store / "data.mdb").stat().st_size // 2)


def overwrite(store: Path) -> None:
    """Lose the pages that lead to all others."""
    with (store / "data.mdb").open("r+b") as file:
        file.write(b"\xaa" * 8_192)


DAMAGES: Final = (delete, cut, overwrite)


def offsets_changed(arena: Arena) -> Generator[None, None, None]:
    """The group's committed offsets are deleted or set while nobody runs."""
    running = [one for one in arena.instances if one.running]
    for one in running:
        one.thaw()
        one.drain(DRAIN_SECONDS)
    change = arena.random.choice(CHANGES)
    arena.wait_for(
        partial(_done, change, arena), "the group is not empty", seconds=EMPTY_SECONDS
    )
    yield
    for one in running or [arena.instances[0]]:
        one.start()


def forget(arena: Arena) -> None:
    """Delete the group of `aggregate` and its offsets with it."""
    group = f"{arena.name}-aggregate"
    arena.admin.delete_consumer_groups([group])[group].result(timeout=30)


def rewind(arena: Arena) -> None:
    """Set the offsets back."""
    _reset(arena, -100)


def skip(arena: Arena) -> None:
    """Set the offsets ahead."""
    _reset(arena, 100)


CHANGES: Final = (forget, rewind, skip)


def _done(change: Callable[[Arena], None], arena: Arena) -> bool:
    """Change offsets; a group is empty only when its last member is forgotten."""
    try:
        change(arena)
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
    return True


def _reset(arena: Arena, by: int) -> None:
    group = f"{arena.name}-aggregate"
    committed = arena.committed(group, arena.topic)
    places = [
        TopicPartition(arena.topic, number, max(0, offset + by))
        for number, offset in committed.items()
        if offset >= 0
    ]
    if not places:
        return
    asked = ConsumerGroupTopicPartitions(group, places)
    for future in arena.admin.alter_consumer_group_offsets([asked]).values():
        future.result(timeout=30)


def cloned(arena: Arena) -> Generator[None, None, None]:
    """A state folder is copied to one more host, with the id of its owner."""
    if len(arena.instances) >= MOST_INSTANCES:
        yield from store_damaged(arena)
        return
    one = some(arena)
    one.kill()
    two = arena.add()
    with suppress(FileNotFoundError):  # it has not come so far
        shutil.copytree(one.work.folder / "state", two.work.folder / "state")
    one.start()
    yield
    two.start()


def no_room(arena: Arena) -> Generator[None, None, None]:
    """The stores cannot grow any more, until there is room and a restart."""
    one = some(arena)
    largest = resource.RLIMIT_FSIZE
    limits = resource.prlimit(one.pid, largest)
    resource.prlimit(one.pid, largest, (200_000, limits[1]))
    yield
    arena.sleep_between(0.0, 4.0)
    one.kill()
    one.start()


def clock_wrong(arena: Arena) -> Generator[None, None, None]:
    """A clock is wrong from a start on, and jumps on the way."""
    one = some(arena)
    one.kill()
    one.set_clock(arena.random.choice(WRONG_SECONDS))
    one.start()
    yield
    one.set_clock(arena.random.choice(WRONG_SECONDS))


def rebuilt(arena: Arena) -> Generator[None, None, None]:
    """Attributes are computed anew, through whatever else goes on."""
    rebuild = arena.command("rebuild", *REBUILT, "--yes")
    yield
    deadline = time.monotonic() + REBUILD_SECONDS
    while (code := rebuild.wait(LOOK_SECONDS)) != 0:
        if time.monotonic() > deadline:
            raise Failed(f"The rebuild does not end.\n{arena.last_words()}")
        some(arena)  # whose partitions take it over
        if code is not None:  # the broker was away, or nothing was folded yet
            rebuild.start()


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, and what it has to itself."""

    peril: Peril
    needs: frozenset[str] = frozenset()

    lasts: bool = False  # until everything else is mended

    @property
    def name(self) -> str:
        """Its name in plain words."""
        return self.peril.__name__.replace("_", " ")


# All that asks something of the broker needs one that answers.
_BROKER: Final = frozenset({"broker"})
_WIRE: Final = frozenset({"wire"})
PERILS: Final = (
    Kind(killed),
    Kind(drained),
    Kind(frozen),
    Kind(joined),
    Kind(killed_in_a_phase),
    Kind(frozen_in_a_phase),
    Kind(stopped_in_a_phase),
    Kind(too_long_in_a_phase),
    Kind(broker_killed, _BROKER),
    Kind(broker_frozen, _BROKER),
    Kind(end_too_late, _WIRE),
    Kind(slow_wire, _WIRE),
    Kind(torn_wire, _WIRE),
    Kind(fenced, _BROKER),
    Kind(hanging, _BROKER),
    Kind(store_damaged),
    Kind(offsets_changed, _BROKER),
    Kind(cloned),
    Kind(no_room),
    Kind(clock_wrong),
    Kind(rebuilt, frozenset({"rebuild"}), lasts=True),
)
