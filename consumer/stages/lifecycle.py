"""The partitions of the aggregate stage, from assignment to revocation.

    assigned --> RESTORING --(position reaches the end)--> RUNNING
                     |                                        |
                     +--(cannot be decided safely)--> HALTED <-+
    revoked or lost: closed, whatever the state; the store stays for its return

The order of an assignment is what keeps purchases from being lost: stable committed
offsets first, then the ends of `profiles` and `state` taken read_uncommitted, then
reading them read_committed up to those ends, then the input goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from consumer.errors import PartitionHalt
from consumer.failpoints import failpoint
from consumer.profiles.fold import sorted_hashes
from consumer.profiles.record import newer_generation
from consumer.profiles.state_records import to_changes
from consumer.profiles.store import Changes, PartitionStore, Position, Tails
from consumer.profiles.write_back import WriteBackStore, ids_seen
from consumer.stages.away import Away
from consumer.stages.batch import OpenPartition
from consumer.stages.beginning import first_offset
from consumer.stages.topic_problems import absence_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from consumer.config import Settings
    from consumer.kafka.changelog import Changelog, Tail
    from consumer.kafka.input import InputConsumer
    from consumer.kafka.topics import Cluster
    from consumer.profiles.agenda import Agenda
    from consumer.profiles.directory import StateDirectory
    from consumer.stages.generations import Agreement
    from consumer.stages.rebuilt import Beside, Rebuilt
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

log = structlog.get_logger(__name__)

AgendaOf: TypeAlias = "Callable[[list[tuple[bytes, bytes]]], list[bytes]]"

BEHIND: Final = {"newer_generation", "unknown_profile_schema", "rebuild_lost"}
# What Python adds to the bytes of a key and a value, in objects and in a dict.
ENTRY_OVERHEAD: Final = 200


@dataclass(slots=True)
class Restoring:
    """A partition whose store is being brought up to date.

    Of the `records` read, those `waiting` are in memory, the latest of each visitor, up
    to the offsets in `tails` and some `size` bytes: in few large and sorted parts, each
    page of the store is written once or twice. If the partition is lost, they are read
    again. `beside` is what a rebuild has computed for it, `rebuilt` that one's own
    restore while it goes on.
    """

    number: int
    store: PartitionStore
    committed: int | None
    began: float
    tails: Tails
    records: int = 0
    waiting: int = 0
    size: int = 0
    profiles: dict[bytes, bytes | None] = field(default_factory=dict)
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    beside: Beside | None = None
    rebuilt: Restoring | None = None

    def take(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Let records of `profiles` wait."""
        self.profiles.update(zip(keys, values, strict=True))
        self._count(values)

    def take_state(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Let records of `state` wait."""
        self.state += zip(keys, values, strict=True)
        self._count(values)

    def _count(self, values: Sequence[bytes | None]) -> None:
        self.records += len(values)
        self.waiting += len(values)
        self.size += sum([len(value) for value in values if value])
        self.size += ENTRY_OVERHEAD * len(values)

    def write(self, agenda_of: AgendaOf) -> None:
        """Give the store what waits, with its agenda's entries.

        Raises `PartitionHalt` where it refuses.
        """
        hashed, order = sorted_hashes(self.profiles)
        values = list(self.profiles.values())
        pairs = [
            (k, values[row]) for k, row in zip(hashed, order.tolist(), strict=True)
        ]
        profiles = [(key, value) for key, value in pairs if value is not None]
        read = to_changes(self.state)
        self.store.commit(
            Changes(
                profiles=profiles,
                agenda=agenda_of(profiles),
                gone=[key for key, value in pairs if value is None],
                seen=read.seen,
                forgotten=read.forgotten,
                suppressed=read.suppressed,
                position=read.position,
                tails=self.tails,
            )
        )
        self.profiles, self.state = {}, []
        self.waiting = self.size = 0


class Partitions:
    """Restores, runs, halts and closes partitions. Used by the stage's thread only."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        directory: StateDirectory,
        source: InputConsumer,
        changelog: Changelog,
        *,
        cluster: Cluster,
        metrics: Metrics,
        board: StatusBoard,
        agreement: Agreement,
        agenda: Agenda,
        rebuilt: Rebuilt | None = None,
        forbidden: PartitionHalt | None = None,
    ) -> None:
        """Join the parts; owns the stores it opens.

        Without `rebuilt` no rebuild is taken over. `forbidden` is a problem of the
        topics that lets no partition run.
        """
        self._settings = settings
        self._directory = directory
        self._source = source
        self._changelog = changelog
        self._cluster = cluster
        self._topic_ids = cluster.topic_ids
        self._forbidden = forbidden
        self._metrics = metrics
        self._board = board
        self._agreement = agreement
        self._rebuilt = rebuilt
        self._agenda = agenda
        self._away = Away(cluster, self._own_topics())
        self.restoring: dict[int, Restoring] = {}
        self.running: dict[int, OpenPartition] = {}
        self.halted: dict[int, PartitionHalt] = {}
        self.new: list[OpenPartition] = []

    def assign(self, numbers: Iterable[int]) -> None:
        """Begin to restore newly assigned partitions.

        Raises `BrokerUnreachable` when committed offsets or ends cannot be had: call
        again, nothing has begun.
        """
        wanted = [number for number in numbers if number not in self.restoring]
        wanted = [number for number in wanted if not self._refuse(number)]
        committed = self._source.committed(wanted)
        failpoint("before-restore")
        stores: dict[int, PartitionStore] = {}
        try:
            for number in wanted:
                try:
                    stores[number] = self._open(number)
                except PartitionHalt as halt:
                    self.halt(number, halt)
            self._read_tails(stores)
        except BaseException:
            for store in stores.values():
                store.close()
            raise
        for number, store in stores.items():
            self.halted.pop(number, None)
            self._metrics.partition_halted.remove_by_labels(
                {"stage": "aggregate", "partition": str(number)}
            )
            self.restoring[number] = Restoring(
                number, store, committed.get(number), time.monotonic(), store.tails
            )
            self._metrics.partition_assigned.labels("aggregate", str(number)).set(1)

    def remove_old(self) -> None:
        """Delete the stores of partitions long gone; before any is assigned."""
        self._away.remove(self._directory)

    def follow(self) -> None:
        """Note that we live, and follow what runs; call it at every turn."""
        for one in self.running.values():
            one.store.follow()

    def forbid(self, halt: PartitionHalt) -> None:
        """Halt all partitions, now and whenever one is assigned."""
        self._forbidden = halt
        for number in [*self.running, *self.restoring]:
            self.halt(number, halt)

    def _refuse(self, number: int) -> bool:
        """Halt a partition whose topics do not allow it to run."""
        absent = absence_problem(self._cluster, self._settings, number)
        if halt := self._forbidden or absent:
            self.halt(number, halt)
        return halt is not None

    def _read_tails(self, stores: dict[int, PartitionStore]) -> None:
        """Begin to read each store's topics from its position to their ends now."""
        places = {}
        for number, store in stores.items():
            places.update(self._places(number, store.tails))
        ends = self._changelog.ends(places)
        for number, store in list(stores.items()):
            if any(o > ends[p] for p, o in self._places(number, store.tails).items()):
                log.warning(
                    "the store is ahead of its topics: rebuilt", partition=number
                )
                del stores[number]
                for place in self._places(number, Tails()):
                    del places[place]
                try:
                    stores[number] = self._fresh(number, store)
                except PartitionHalt as halt:
                    self.halt(number, halt)
                else:
                    places.update(self._places(number, Tails()))
        self._changelog.add(places)

    def restore(self, timeout: float) -> None:
        """Read on from the changelogs; partitions that are whole start to flow."""
        for tail in self._changelog.read(timeout):
            try:
                self._apply(tail)
            except PartitionHalt as halt:
                self.halt(tail.partition, halt)
        done = [
            one
            for one in self.restoring.values()
            if not any(map(self._changelog.pending, self._all_places(one)))
        ]
        for one in done:
            try:
                if self._is_beside(one):
                    self._start(one)
            except PartitionHalt as halt:
                self.halt(one.number, halt)

    def progress(self) -> dict[int, tuple[int, int]]:
        """Give the records read and those left of each partition being restored."""
        return {
            one.number: (
                one.records,
                sum(
                    self._changelog.left(place, at)
                    for place, at in self._reached(one).items()
                ),
            )
            for one in self.restoring.values()
        }

    def close(self, numbers: Iterable[int], *, flush: bool = True) -> None:
        """Give partitions up; their stores stay on disk for a return.

        Without a `flush` they are as of the last one, and the topics have the rest.
        """
        leaving = [*numbers]
        self.new = [one for one in self.new if one.number not in leaving]
        for number in leaving:
            if (restoring := self.restoring.pop(number, None)) is not None:
                self._changelog.remove(self._all_places(restoring))
                restoring.store.close()
                if self._rebuilt is not None and restoring.beside is not None:
                    self._rebuilt.close(restoring.beside)
            if (running := self.running.pop(number, None)) is not None:
                self._close_running(running, flush=flush)
            self.halted.pop(number, None)
            self._metrics.forget_partition("aggregate", number)
            self._board.forget("aggregate", number)

    def joined(self, partition: OpenPartition) -> None:
        """Let go of what a rebuild had computed: every profile has it."""
        joining, partition.joining = partition.joining, None
        if joining is not None and self._rebuilt is not None:
            joining.close()
            self._rebuilt.discard(partition.number, joining.rebuild)
            log.info(
                "a rebuild was taken over",
                partition=partition.number,
                rebuild=joining.rebuild,
                profiles=joining.total,
            )

    def _close_running(self, partition: OpenPartition, *, flush: bool) -> None:
        if partition.joining is not None:
            partition.joining.close()
        if not flush:
            partition.store.abandon()
            return
        try:
            partition.store.close(time.monotonic())
        except PartitionHalt as halt:
            # What could not be flushed comes back from the topics.
            log.warning("closed without a flush", what=halt.what)

    def _cache_share(self) -> int:
        """Give the bytes of memory that each running partition may keep profiles in."""
        share = self._settings.aggregate.shares.cached
        return share // max(1, len(self.running))

    def halt(self, number: int, halt: PartitionHalt) -> None:
        """Stop one partition, visibly; the others go on."""
        log.error(
            "partition halted",
            partition=number,
            reason=halt.reason,
            what=halt.what,
            remedy=halt.remedy,
        )
        self._source.pause([number])
        self.close([number])
        self.halted[number] = halt
        place = "aggregate", str(number)
        self._metrics.partition_assigned.labels(*place).set(1)
        self._metrics.partition_halted.labels(*place, halt.reason).set(1)

    def _open(self, number: int) -> PartitionStore:
        store = self._directory.open(number)
        position = store.position
        source = self._settings.topics.purchases
        if position is not None and position.topic_id != self._topic_ids[source]:
            store.close()
            raise PartitionHalt(
                "topic_recreated",
                "If the topic was recreated on purpose, use another `application`, "
                "or delete our topics and the state directory to start anew.",
                what=f"The state of partition {number} belongs to another topic than "
                f"the present {source}.",
            )
        marks = {name: self._topic_ids[name].encode() for name in self._own_topics()}
        if any(store.meta(name) not in {None, mark} for name, mark in marks.items()):
            log.warning(
                "our topics were recreated: the store is rebuilt", partition=number
            )
            return self._fresh(number, store)
        try:
            if why := self._away.too_long(store):
                log.warning("the store is rebuilt", partition=number, why=why)
                return self._fresh(number, store)
            for name, mark in marks.items():
                store.note(name, mark)
        except PartitionHalt:
            store.close()
            raise
        return store

    def _fresh(self, number: int, store: PartitionStore) -> PartitionStore:
        store.close()
        self._directory.discard(number)
        return self._open(number)

    def _apply(self, tail: Tail) -> None:
        one = self.restoring.get(tail.partition)
        if one is None:
            return
        into, topic = one, self._settings.topics.profiles
        agenda_of: AgendaOf = self._agenda_of
        if one.rebuilt is not None and one.beside and tail.topic in one.beside.topics:
            into, (topic, _), agenda_of = one.rebuilt, one.beside.topics, _no_agenda
        if tail.topic == topic:
            into.take(tail.keys, tail.values)
            into.tails = replace(into.tails, profiles=tail.next_offset)
        else:
            into.take_state(tail.keys, tail.values)
            into.tails = replace(into.tails, state=tail.next_offset)
        share = self._settings.aggregate.shares.cached
        if into.size > share // len(self.restoring):
            self._keep(into, agenda_of)

    def _keep(self, one: Restoring, agenda_of: AgendaOf) -> None:
        """Write what has been restored so far."""
        waiting = one.waiting
        one.write(agenda_of)
        self._metrics.restored_records.inc(waiting)

    def _agenda_of(self, profiles: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Give the agenda's entries of restored profiles; none costs nothing."""
        if not (self._agenda and profiles):
            return []
        keys, values = zip(*profiles, strict=True)
        return self._agenda.entries(keys, values)

    def begin_agenda_anew(self, partition: OpenPartition) -> None:
        """Make a running partition's agenda anew, since its day has gone back."""
        now = time.monotonic()
        partition.store.begin_agenda_anew(self._agenda, partition.day, now)

    def behind(self) -> list[int]:
        """List the partitions that are halted for what a later generation may mend."""
        found = self.halted.items()
        return [number for number, halt in found if halt.reason in BEHIND]

    def _is_beside(self, one: Restoring) -> bool:
        """Bring what a rebuild has computed beside the partition, if there is such.

        It tells whether that has been done: until then it wants to be called again.
        """
        if self._rebuilt is None:
            return True
        if one.beside is None:
            self._keep(one, self._agenda_of)
            if (position := one.store.position) is None:
                return True
            generation = self._agreement.rebuild_for(position)
            if generation is None:
                for old in self._agreement.rebuilds:  # taken over elsewhere, it may be
                    self._rebuilt.discard(one.number, old.rebuild["id"])
                return True
            started = position.rebuild == generation.rebuild["id"]
            target = position.joined_at if started else position.next_offset
            one.beside = beside = self._rebuilt.open(one.number, generation, target)
            beside.suppressed = one.store.suppressed()
            one.rebuilt = Restoring(
                one.number, beside.store, None, one.began, beside.store.tails
            )
            self._changelog.add(beside.places())
            return False
        if one.rebuilt is not None:
            self._keep(one.rebuilt, _no_agenda)
            one.rebuilt = None
        return self._rebuilt.bring_up(one.beside)

    def _start(self, one: Restoring) -> None:
        """Let a restored partition flow from the state's own position."""
        self._keep(one, self._agenda_of)
        position = one.store.position
        is_new = position is None
        if position is None:
            position = self._first_position(one)
        elif position.topic_id != self._topic_ids[self._settings.topics.purchases]:
            raise PartitionHalt(
                "topic_recreated",
                "Use another `application`, or delete our topics to start anew.",
                what=f"The state of partition {one.number} belongs to another topic.",
            )
        elif position.generation > self._agreement.number:
            raise newer_generation(position.generation, self._agreement.number)
        elif one.committed != position.next_offset:
            log.warning(
                "committed offset differs from the state: the state's position counts",
                partition=one.number,
                committed=one.committed,
                position=position.next_offset,
            )
        failpoint("after-restore")
        self._agenda.settle(one.store)
        store = WriteBackStore(
            one.store, memory=self._cache_share, now=time.monotonic()
        )
        horizon = self._settings.aggregate.deduplicate
        seen = ids_seen(store, horizon, position.stream_time)
        del self.restoring[one.number]
        suppressed = one.store.suppressed()
        running = OpenPartition(
            one.number, store, seen, position, suppressed=suppressed
        )
        if self._rebuilt is not None and one.beside is not None:
            running.joining = self._rebuilt.joining(one.beside, one.store.count())
            # From this transaction on profiles are of the new generation.
            running.position = replace(
                position,
                generation=self._agreement.number,
                rebuild=one.beside.rebuild,
                joined_at=one.beside.target,
            )
            is_new = True
        self.running[one.number] = running
        if is_new:
            self.new.append(running)
        self._source.start({one.number: position.next_offset})
        self._metrics.restore_remaining_records.labels(str(one.number)).set(0)
        seconds = time.monotonic() - one.began
        self._metrics.restore_seconds.inc(seconds)
        log.info(
            "partition restored",
            partition=one.number,
            next_offset=position.next_offset,
            records=one.records,
            profiles=one.store.count(),
            seconds=round(seconds, 3),
        )

    def _first_position(self, one: Restoring) -> Position:
        if one.committed is not None:
            raise PartitionHalt(
                "state_missing",
                "Restore the topics of profiles and state, or start anew under "
                "another `application`.",
                what=f"Offset {one.committed} of partition {one.number} is committed, "
                "but there is no state that belongs to it.",
            )
        # What was rekeyed is all to be folded: `start` counts for the source alone.
        rekeys = self._settings.rekeys
        start: str | datetime = "earliest" if rekeys else self._settings.purchases.start
        ends = self._agreement.ends
        offset = first_offset(self._source, start, one.number, ends)
        topic_id = self._topic_ids[self._settings.topics.purchases]
        return Position(topic_id, offset, 0, self._agreement.number, began=offset)

    def _own_topics(self) -> tuple[str, str]:
        return self._settings.topics.profiles, self._settings.topics.state

    def _all_places(self, one: Restoring) -> dict[tuple[str, int], int]:
        """Give the places that a partition is restored from."""
        places = self._places(one.number, Tails())
        return places if one.beside is None else places | one.beside.places(Tails())

    def _reached(self, one: Restoring) -> dict[tuple[str, int], int]:
        """Give where a partition is in each of the places it is restored from."""
        reached = self._places(one.number, one.tails)
        if one.beside is not None and one.rebuilt is not None:
            reached |= one.beside.places(one.rebuilt.tails)
        return reached

    def _places(self, number: int, tails: Tails) -> dict[tuple[str, int], int]:
        profiles, state = self._own_topics()
        return {(profiles, number): tails.profiles, (state, number): tails.state}


def _no_agenda(_profiles: list[tuple[bytes, bytes]]) -> list[bytes]:
    return []
