"""The aggregate stage: purchases in, profiles out, exactly once.

One synchronous loop on one thread, as in Kafka Streams: consume, work, commit, poll;
rebalances run between its batches. A batch's profiles, dead letters, ids, position
and offsets are one Kafka transaction; the local store follows after its commit. What
does not commit cleanly is dropped, the producer replaced, and every partition
restored anew, which finds out what did commit.
"""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import structlog

from consumer.errors import (
    BrokerUnreachable,
    Fenced,
    PartitionHalt,
    PosConsumerError,
    ProducerFenced,
    TransactionFailed,
)
from consumer.failpoints import failpoint
from consumer.kafka.profiles_batches import since_header
from consumer.kafka.transaction import TransactionalProducer
from consumer.profiles import state_records
from consumer.profiles.store import Changes, Tails
from consumer.stages.aggregate_report import AggregateReport
from consumer.stages.batch import PartitionOutput
from consumer.stages.client_report import ClientReport
from consumer.stages.held import HeldPartitions
from consumer.stages.refused import dead_letters_of
from consumer.stages.topic_problems import count_problem, out_of_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.config import Settings
    from consumer.events.dead_letters import Record
    from consumer.frames import Records
    from consumer.kafka.control_records import ControlView
    from consumer.kafka.input import InputConsumer
    from consumer.kafka.topics import Cluster
    from consumer.profiles.directory import StateDirectory
    from consumer.stages.batch import BatchWork, Prepared
    from consumer.stages.daily import Daily
    from consumer.stages.erasure import Erasure
    from consumer.stages.generations import Agreement
    from consumer.stages.lifecycle import Partitions
    from consumer.stages.rebuild_progress import RebuildProgress
    from consumer.telemetry.health import Component
    from consumer.telemetry.laps import Laps
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

log = structlog.get_logger(__name__)

RESTORE_SECONDS = 0.2
WATCH_SECONDS = 10.0
FIRST_BATCH = 5_000  # until the size of records is known
GC_SECONDS = 30.0
RECOVERY_PAUSE_SECONDS = 1.0
# Two processes on one transactional id (a copied state directory) fence each other.
FENCED_WITHIN_SECONDS = 300.0
JOINED_AT_ONCE = 5_000  # profiles of a partition, in one transaction
BUSY_SECONDS = 0.1  # that purchases may gather while there is other work
UNCLEAN = (TransactionFailed, Fenced, BrokerUnreachable)


class AggregateStage:
    """Runs the loop until `drain` or `abort`; `run` is its thread's whole life."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        directory: StateDirectory,
        source: InputConsumer,
        partitions: Partitions,
        work: BatchWork,
        *,
        cluster: Cluster,
        metrics: Metrics,
        board: StatusBoard,
        health: Component,
        agreement: Agreement,
        view: Callable[[], ControlView],
        progress: RebuildProgress | None = None,
        daily: Daily | None = None,
        erasure: Erasure | None = None,
    ) -> None:
        """Join the parts; nothing runs yet.

        `view` gives what `control` holds now. Without `daily` no day ever passes.
        """
        self._erasure = erasure
        self._settings = settings
        self._directory = directory
        self._source = source
        self._partitions = partitions
        self._work = work
        self._daily = daily
        self._ticking = False
        self._cluster = cluster
        self._agreement = agreement
        self._view = view
        self._progress = progress
        self._metrics = metrics
        self._health = health
        self._report = AggregateReport(metrics, board, health, directory.path)
        self._producer_report = ClientReport(metrics, "producer")
        self._laps: Laps
        self._held = HeldPartitions(source)
        self._stop = threading.Event()
        self._producer: TransactionalProducer | None = None
        self._unassigned: list[int] = []
        self._most_records = min(FIRST_BATCH, settings.aggregate.max_batch)
        self._watched_at = time.monotonic()
        self._fenced_at: float | None = None

    def run(self) -> None:
        """Loop until told to stop, then leave the group; raises what is a bug."""
        self._health.wait("joining the consumer group")
        drained = False
        try:
            self._partitions.remove_old()
            with (
                manual_gc() as collect,
                self._metrics.laps("aggregate", "start") as self._laps,
            ):
                while not self._stop.is_set():
                    self._health.beat(time.monotonic())
                    self._turn()
                    collect(time.monotonic())
            log.info("aggregate stage drained")
            drained = True
        finally:
            # What a bug may have touched is not written; the topics have it.
            held = [*self._partitions.running, *self._partitions.restoring]
            self._partitions.close(held, flush=drained)
            if self._producer is not None:
                self._producer.close()
            self._source.close()
            self._health.stop_watching()

    def drain(self) -> None:
        """Stop after the transaction in progress; safe from any thread."""
        self._stop.set()

    def _turn(self) -> None:
        """Do one round: restore, consume, work."""
        self._laps.to("start")
        try:
            if self._producer is None:
                self._producer = self._new_producer()
            self._take_up_generation()
            self._assign()
            self._partitions.follow()
            running = self._partitions.running.values()
            self._held.release(
                {one.number: one.position.next_offset for one in running},
                time.monotonic(),
            )
            self._watch_topic()
            restoring = bool(self._partitions.restoring)
            if restoring:
                self._laps.to("restore")
                self._partitions.restore(RESTORE_SECONDS)
                self._introduce()
            if self._daily is not None:
                self._halt(self._daily.give_days(running))
            self._laps.to("report")
            self._show()
            self._laps.to("idle")
            batch = self._source.consume(
                self._most_records, 0.0 if restoring else self._patience()
            )
            if batch.records is not None and len(batch.records) >= self._most_records:
                self._laps.rename("fetch")
            self._laps.to("report")
            self._rebalance()
            gone = batch.out_of_range.items()
            self._halt({number: out_of_range(number, why) for number, why in gone})
            if batch.records is not None:
                self._consumed(batch.records)
            if self._daily is not None:
                self._tick(self._daily)
            if self._erasure is not None:
                self._erase(self._erasure)
            self._join()
        except UNCLEAN as error:
            self._recover(error)

    def _patience(self) -> float:
        """Give the seconds that a batch may gather; few where there is other work."""
        interval = self._settings.aggregate.commit_interval
        joining = any(one.joining for one in self._partitions.running.values())
        busy = self._ticking or joining
        return min(interval, BUSY_SECONDS) if busy else interval

    def _tick(self, daily: Daily) -> None:
        """Write the profiles that change because a day has passed, some at a time."""
        self._laps.to("tick")
        outputs, halts = daily.due(self._partitions.running)
        self._halt(halts)
        self._ticking = bool(outputs)
        written = {n: output for n, output in outputs.items() if output.profiles}
        if written:
            failpoint("before-tick")
            self._write(written, {}, time.time(), produced="after-tick-produce")
            self._report.ticked(written)
        self._store({n: o for n, o in outputs.items() if n not in written}, {})

    def _erase(self, erasure: Erasure) -> None:
        """Write what erases visitors, some at a time."""
        outputs, halts = erasure.due(self._partitions.running)
        self._halt(halts)
        if outputs:
            failpoint("before-erase")
            self._write(outputs, {}, time.time(), produced="after-erase-produce")
            self._report.erased(outputs)
            erasure.written(self._partitions.running)

    def _take_up_generation(self) -> None:
        """Start all partitions anew where a later generation has our definitions."""
        if self._agreement.renew(self._view()):
            self._work.begin(self._agreement.number)
            if self._daily is not None:
                self._daily.begin(self._agreement.number)
            if self._erasure is not None:
                self._erasure.begin(self._agreement.number)
            self._let_go(self._partitions.behind())

    def _join(self) -> None:
        """Join some more profiles to what a rebuild has computed for them."""
        outputs: dict[int, PartitionOutput] = {}
        joined = []
        for number, partition in list(self._partitions.running.items()):
            if partition.joining is None:
                continue
            try:
                output = self._work.join(partition, JOINED_AT_ONCE)
            except PartitionHalt as halt:
                self._partitions.halt(number, halt)
                continue
            position = partition.position
            if output is None:
                output = PartitionOutput()
                position = replace(position, rebuild="", joined_at=0)
                joined.append(partition)
            output.state = [*state_records.to_records(position, {}, [])]
            output.changes = replace(output.changes, position=position)
            outputs[number] = output
        if outputs:
            self._write(outputs, {})
        for partition in joined:
            self._partitions.joined(partition)
        if self._progress is not None:
            self._progress.tell(self._partitions.running)

    def _assign(self) -> None:
        if self._unassigned:
            self._partitions.assign(self._unassigned)
            self._unassigned = []

    def _watch_topic(self) -> None:
        """Notice when somebody changes the number of partitions, which moves visitors.

        A topic that is gone, or a broker that does not answer, shows elsewhere.
        """
        now = time.monotonic()
        if now - self._watched_at < WATCH_SECONDS:
            return
        self._watched_at = now
        was = self._cluster.partitions[self._settings.topics.purchases]
        with suppress(BrokerUnreachable):
            count = self._source.partitions()
            if count and (halt := count_problem(self._settings, was, count)):
                self._partitions.forbid(halt)

    def _rebalance(self) -> None:
        """Take over what changed hands during the last consume call."""
        change = self._source.rebalance()
        self._report.rebalanced(change)
        leaving = {*change.revoked, *change.lost}
        self._partitions.close(leaving)
        self._held.forget(leaving)
        self._unassigned = [n for n in self._unassigned if n not in leaving]
        self._unassigned += change.assigned

    def _consumed(self, records: Records) -> None:
        """Work the records of running partitions; others come again after a seek."""
        running = np.array(self._flowing(), np.int32)
        ours = np.isin(records.partitions, running)
        if not ours.all():
            records = records.take(np.flatnonzero(ours))
        if not len(records):
            return
        size = self._report.taken(records)
        failpoint("before-fold")
        self._laps.to("assemble", whole=True)
        prepared = self._prepare(records)
        self._limit_batches(len(records), size, prepared.profile_bytes)
        self._laps.divide(prepared.seconds)
        failpoint("after-fold")
        if len(prepared.records):
            self._commit(prepared)
        self._halt(prepared.halts)
        self._held.hold(prepared.waits, time.monotonic())

    def _halt(self, halts: Mapping[int, PartitionHalt]) -> None:
        for number, halt in halts.items():
            self._partitions.halt(number, halt)

    def _flowing(self) -> list[int]:
        """List the partitions whose records are taken now."""
        held = self._held.why()
        return [number for number in self._partitions.running if number not in held]

    def _limit_batches(self, records: int, size: int, profiles: int) -> None:
        """Take fewer at a time where records or profiles are large: memory is bounded.

        `size` are the bytes of so many records, `profiles` those that they changed.
        """
        settings = self._settings.aggregate
        most = settings.shares.records_at_once(records, size, profiles)
        self._most_records = min(most, settings.max_batch)

    def _prepare(self, records: Records) -> Prepared:
        """Work the batch; where that halts, find out which partition it concerns."""
        running = self._partitions.running
        try:
            return self._work.prepare(records, running)
        except PartitionHalt:
            kept = np.ones(len(records), bool)
            halts: dict[int, PartitionHalt] = {}
            for number in np.unique(records.partitions).tolist():
                mine = records.partitions == number
                try:
                    self._work.prepare(records.take(np.flatnonzero(mine)), running)
                except PartitionHalt as halt:
                    halts[number] = halt
                    kept &= ~mine
            rest = self._work.prepare(records.take(np.flatnonzero(kept)), running)
            rest.halts.update(halts)
            return rest

    def _introduce(self) -> None:
        """Write the first positions of new partitions, before they have a record.

        So a partition without traffic knows where it began: later, `start` no longer
        counts for it.
        """
        fresh, self._partitions.new = self._partitions.new, []
        outputs = {
            one.number: PartitionOutput(
                state=[*state_records.to_records(one.position, {}, [])],
                changes=Changes(position=one.position),
            )
            for one in fresh
        }
        if outputs:
            self._write(outputs, {})

    def _commit(self, prepared: Prepared) -> None:
        """Write a batch in one transaction, and count it."""
        topics = self._settings.topics
        letters = dead_letters_of(
            prepared.verdicts,
            prepared.records,
            topics.purchases,
            topics.dead_letters,
            self._cluster,
        )
        self._write(prepared.outputs, letters, prepared.oldest_event_time)
        self._laps.to("report")
        self._report.committed(prepared)

    def _write(
        self,
        outputs: Mapping[int, PartitionOutput],
        letters: Mapping[int, Sequence[Record]],
        oldest: float | None = None,
        *,
        produced: str = "after-produce",
    ) -> None:
        """Write outputs and dead letters in one transaction, then into the stores.

        `oldest` is when the oldest event was recorded, in seconds since the epoch;
        `produced` the failpoint before the commit.
        """
        producer = self._producer
        if producer is None:
            raise TransactionFailed("There is no producer.")
        topics = self._settings.topics
        self._laps.to("produce")
        producer.begin()
        for number, output in outputs.items():
            producer.produce(
                topics.profiles, number, output.profiles, first=since_header(oldest)
            )
            producer.produce(topics.state, number, output.state)
        for number, records in letters.items():
            producer.produce_headed(topics.dead_letters, number, records)
        failpoint(produced)
        self._laps.to("commit")
        next_offsets = {
            number: output.changes.position.next_offset
            for number, output in outputs.items()
            if output.changes.position is not None
        }
        reached = producer.commit(
            topics.purchases, next_offsets, self._source.group_metadata()
        )
        failpoint("after-commit")
        self._laps.to("store")
        self._metrics.transactions.labels("committed").inc()
        self._store(outputs, reached)
        failpoint("after-store")

    def _store(
        self,
        outputs: Mapping[int, PartitionOutput],
        reached: Mapping[tuple[str, int], int],
    ) -> None:
        """Give the stores what was committed, and the positions it reached."""
        topics = self._settings.topics
        for number, output in outputs.items():
            partition = self._partitions.running[number]
            held, changes = partition.store.tails, output.changes
            tails = Tails(
                reached.get((topics.profiles, number), held.profiles),
                reached.get((topics.state, number), held.state),
            )
            try:
                partition.commit(replace(changes, tails=tails), time.monotonic())
            except PartitionHalt as halt:
                self._partitions.halt(number, halt)

    def _recover(self, error: PosConsumerError) -> None:
        """Start anew after an unclean end; the restore finds out what committed."""
        self._laps.to("recover")
        self._rebalance()  # what the same call lost is not ours to take up again
        self._report.recovering(error)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()
        if isinstance(error, ProducerFenced):
            now = time.monotonic()
            if (
                self._fenced_at is not None
                and now - self._fenced_at < FENCED_WITHIN_SECONDS
            ):
                self._directory.renew_replica_id()
                log.warning("fenced twice: taking a transactional id of our own")
            self._fenced_at = now
        self._let_go()
        self._stop.wait(RECOVERY_PAUSE_SECONDS)

    def _let_go(self, halted: Sequence[int] = ()) -> None:
        """Close the partitions that are ours, to be assigned anew; some halted too."""
        held = [*self._partitions.running, *self._partitions.restoring, *halted]
        self._partitions.close(held)
        self._held.forget(held)
        self._source.pause(held)
        self._unassigned += [n for n in held if n not in self._unassigned]

    def _new_producer(self) -> TransactionalProducer:
        name = f"{self._settings.application}-{self._directory.replica_id}"
        return TransactionalProducer(self._settings, name, self._producer_report)

    def _show(self) -> None:
        """Tell health, metrics and the status page where the partitions are."""
        self._report.show(
            self._partitions,
            self._source.ends(),
            self._held.why(),
            waiting=bool(self._unassigned) or not self._source.joined,
        )


@contextmanager
def manual_gc() -> Iterator[Callable[[float], None]]:
    """Collect cyclic garbage now and then, instead of after every few objects.

    A batch makes some hundred thousand objects that are freed without a collector;
    looking at them cost a sixth of the stage's CPU time (docs/adr).
    """
    collected = time.monotonic()

    def collect(now: float) -> None:
        nonlocal collected
        if now - collected >= GC_SECONDS:
            gc.collect()
            collected = now

    gc.freeze()
    gc.disable()
    try:
        yield collect
    finally:
        gc.enable()
        gc.unfreeze()
