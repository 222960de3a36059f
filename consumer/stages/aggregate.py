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
from contextlib import contextmanager
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
from consumer.events import dead_letters
from consumer.failpoints import failpoint
from consumer.frames import Outcome
from consumer.kafka.transaction import TransactionalProducer
from consumer.profiles import state_records
from consumer.profiles.store import Changes, Tails
from consumer.stages.batch import PartitionOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.config import Settings
    from consumer.frames import Records
    from consumer.kafka.input import InputConsumer
    from consumer.kafka.topics import Cluster
    from consumer.profiles.directory import StateDirectory
    from consumer.stages.batch import BatchWork, Prepared
    from consumer.stages.lifecycle import Partitions
    from consumer.telemetry.health import Component
    from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

RESTORE_SECONDS = 0.2
FIRST_BATCH = 5_000  # until the size of records is known
BATCH_SHARE = 16  # one part in so many of [aggregate] memory is a batch's own bytes
GC_SECONDS = 30.0
RECOVERY_PAUSE_SECONDS = 1.0
# Two processes on one transactional id (a copied state directory) fence each other.
FENCED_WITHIN_SECONDS = 300.0
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
        health: Component,
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._settings = settings
        self._directory = directory
        self._source = source
        self._partitions = partitions
        self._work = work
        self._cluster = cluster
        self._metrics = metrics
        self._health = health
        self._stop = threading.Event()
        self._producer: TransactionalProducer | None = None
        self._unassigned: list[int] = []
        self._most_records = min(FIRST_BATCH, settings.aggregate.max_batch)
        self._fenced_at: float | None = None

    def run(self) -> None:
        """Loop until told to stop, then leave the group; raises what is a bug."""
        self._health.wait("joining the consumer group")
        try:
            with manual_gc() as collect:
                while not self._stop.is_set():
                    self._health.beat(time.monotonic())
                    self._turn()
                    collect(time.monotonic())
            log.info("aggregate stage drained")
        finally:
            self._partitions.close(
                [*self._partitions.running, *self._partitions.restoring]
            )
            if self._producer is not None:
                self._producer.close()
            self._source.close()
            self._health.stop_watching()

    def drain(self) -> None:
        """Stop after the transaction in progress; safe from any thread."""
        self._stop.set()

    def _turn(self) -> None:
        """Do one round: restore, consume, work."""
        try:
            if self._producer is None:
                self._producer = self._new_producer()
            self._assign()
            restoring = bool(self._partitions.restoring)
            if restoring:
                self._partitions.restore(RESTORE_SECONDS)
                self._introduce()
            self._report()
            begun = time.perf_counter()
            batch = self._source.consume(
                self._most_records,
                0.0 if restoring else self._settings.aggregate.commit_interval,
            )
            self._spent("fetch", time.perf_counter() - begun)
            self._rebalance()
            for number, why in batch.out_of_range.items():
                self._partitions.halt(number, _out_of_range(number, why))
            if batch.records is not None:
                self._consumed(batch.records)
        except UNCLEAN as error:
            self._recover(error)

    def _assign(self) -> None:
        if self._unassigned:
            self._partitions.assign(self._unassigned)
            self._unassigned = []

    def _rebalance(self) -> None:
        """Take over what changed hands during the last consume call."""
        change = self._source.rebalance()
        for kind in ("revoked", "lost", "assigned"):
            if numbers := getattr(change, kind):
                self._metrics.rebalances.labels("aggregate", kind).inc()
                log.info("assignment changed", kind=kind, partitions=sorted(numbers))
        leaving = {*change.revoked, *change.lost}
        self._partitions.close(leaving)
        self._unassigned = [n for n in self._unassigned if n not in leaving]
        self._unassigned += change.assigned

    def _consumed(self, records: Records) -> None:
        """Work the records of running partitions; others come again after a seek."""
        running = np.array(list(self._partitions.running), np.int32)
        ours = np.isin(records.partitions, running)
        if not ours.all():
            records = records.take(np.flatnonzero(ours))
        if not len(records):
            return
        self._metrics.consumed_records.labels("aggregate").inc(len(records))
        self._limit_batches(records)
        self._metrics.batches.labels("aggregate").inc()
        failpoint("before-fold")
        prepared = self._prepare(records)
        failpoint("after-fold")
        for number, halt in prepared.halts.items():
            self._partitions.halt(number, halt)
        if len(prepared.records):
            self._commit(prepared)

    def _limit_batches(self, records: Records) -> None:
        """Take fewer records at a time where they are large: memory is bounded."""
        size = sum([len(value) for value in records.values if value])
        self._metrics.consumed_bytes.labels("aggregate").inc(size)
        allowed = self._settings.aggregate.memory // BATCH_SHARE
        affordable = allowed * len(records) // max(1, size)
        self._most_records = max(1, min(affordable, self._settings.aggregate.max_batch))

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
            self._write(outputs, [])

    def _commit(self, prepared: Prepared) -> None:
        """Write a batch in one transaction, and count it."""
        topics, records = self._settings.topics, prepared.records
        letters = [
            (
                int(records.partitions[letter.row]),
                dead_letters.to_record(
                    letter,
                    records,
                    topics.purchases,
                    self._cluster.topic_ids[topics.purchases],
                    self._cluster.largest_records[topics.dead_letters],
                ),
            )
            for letter in prepared.verdicts.dead_letters
        ]
        self._write(prepared.outputs, letters)
        self._count(prepared)

    def _write(
        self,
        outputs: Mapping[int, PartitionOutput],
        letters: Sequence[tuple[int, dead_letters.Record]],
    ) -> None:
        """Write outputs and dead letters in one transaction, then into the stores."""
        producer = self._producer
        if producer is None:
            raise TransactionFailed("There is no producer.")
        topics = self._settings.topics
        begun = time.perf_counter()
        producer.begin()
        for number, output in outputs.items():
            producer.produce(topics.profiles, number, output.profiles)
            producer.produce(topics.state, number, output.state)
        for number, (key, value, headers) in letters:
            producer.produce(topics.dead_letters, number, [(key, value)], headers)
        failpoint("after-produce")
        produced = time.perf_counter()
        next_offsets = {
            number: output.changes.position.next_offset
            for number, output in outputs.items()
            if output.changes.position is not None
        }
        reached = producer.commit(
            topics.purchases, next_offsets, self._source.group_metadata()
        )
        failpoint("after-commit")
        committed = time.perf_counter()
        self._metrics.transactions.labels("committed").inc()
        self._store(outputs, reached)
        failpoint("after-store")
        self._spent("produce", produced - begun)
        self._spent("commit", committed - produced)
        self._spent("store", time.perf_counter() - committed)

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
            if changes.position is None:
                continue
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
        log.warning("starting over from the last commit", what=error.what)
        self._metrics.transactions.labels("failed").inc()
        self._metrics.producer_recycles.inc()
        if self._producer is not None:
            self._producer.close()
            self._producer = None
        if isinstance(error, ProducerFenced):
            now = time.monotonic()
            if (
                self._fenced_at is not None
                and now - self._fenced_at < FENCED_WITHIN_SECONDS
            ):
                self._directory.renew_replica_id()
                log.warning("fenced twice: taking a transactional id of our own")
            self._fenced_at = now
        held = [*self._partitions.running, *self._partitions.restoring]
        self._partitions.close(held)
        self._source.pause(held)
        self._unassigned += [n for n in held if n not in self._unassigned]
        self._stop.wait(RECOVERY_PAUSE_SECONDS)

    def _new_producer(self) -> TransactionalProducer:
        name = f"{self._settings.application}-{self._directory.replica_id}"
        return TransactionalProducer(self._settings, name)

    def _count(self, prepared: Prepared) -> None:
        """Record what a committed batch was."""
        metrics = self._metrics
        counts = prepared.verdicts.counts()
        for outcome, count in counts.items():
            metrics.records.labels(outcome.label).inc(count)
        metrics.duplicates.labels("repeat").inc(counts[Outcome.DUPLICATE])
        for letter in prepared.verdicts.dead_letters:
            metrics.dead_letters.labels(letter.reason).inc()
        written = sum(len(output.profiles) for output in prepared.outputs.values())
        metrics.profiles_written.inc(written)
        for step, seconds in prepared.seconds.items():
            self._spent(step, seconds)
        ages = time.time() - prepared.records.timestamps / 1000
        metrics.event_to_committed.observe(ages)
        log.debug(
            "batch committed",
            records=len(prepared.records),
            profiles=written,
            **{outcome.label: count for outcome, count in counts.items()},
        )

    def _report(self) -> None:
        """Tell health and metrics where the partitions are."""
        partitions = self._partitions
        self._health.degrade(
            {f"partition {n}": halt.reason for n, halt in partitions.halted.items()}
        )
        if partitions.restoring:
            self._health.wait(f"restoring {len(partitions.restoring)} partitions")
        elif not self._unassigned:
            self._health.ready()
        ends = self._source.ends()
        for number, partition in partitions.running.items():
            lag = max(0, ends.get(number, 0) - partition.position.next_offset)
            self._metrics.lag_records.labels("aggregate", str(number)).set(lag)

    def _spent(self, step: str, seconds: float) -> None:
        self._metrics.add_seconds("aggregate", step, seconds)


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


def _out_of_range(number: int, why: str) -> PartitionHalt:
    return PartitionHalt(
        "offset_out_of_range",
        "Retention has removed records that were not read, or the topic was recreated. "
        "Decide what is to be done about the loss before you reset the position.",
        what=f"The next offset of partition {number} is no longer in the topic: {why}.",
    )
