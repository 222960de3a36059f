"""The rekey stage: purchases keyed by anything in, the same records by visitor out.

For topics keyed by store, till or receipt. The same loop as the aggregate stage's, but
for the state: a batch's records, its dead letters, the positions reached and the
offsets are one Kafka transaction. The topic written has a partition count of its own,
so that the source may grow partitions. Records of one visitor keep the order of each
partition of the source; between partitions there is none.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from consumer.errors import (
    BrokerUnreachable,
    Fenced,
    PartitionHalt,
    PosConsumerError,
    TransactionFailed,
)
from consumer.failpoints import failpoint
from consumer.stages.held import HeldPartitions
from consumer.stages.refused import dead_letters_of
from consumer.stages.rekey_positions import to_record
from consumer.stages.topic_problems import out_of_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.config import Settings
    from consumer.frames import Records
    from consumer.kafka.input import InputConsumer
    from consumer.kafka.topics import Cluster
    from consumer.kafka.transaction import TransactionalProducer
    from consumer.stages.producers import Producers
    from consumer.stages.rekey_positions import SourcePosition, SourcePositions
    from consumer.stages.rekey_report import RekeyReport
    from consumer.stages.rekeying import Rekeyed, Rekeying
    from consumer.telemetry.health import Component
    from consumer.telemetry.laps import Laps
    from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

RESTORE_SECONDS: Final = 0.2
RECOVERY_PAUSE_SECONDS: Final = 1.0
ORIGIN: Final = "pos-consumer-source"
UNCLEAN: Final = (TransactionFailed, Fenced, BrokerUnreachable)


class RekeyStage:
    """Runs the loop until `drain`; `run` is its thread's whole life."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        source: InputConsumer,
        positions: SourcePositions,
        rekeying: Rekeying,
        producers: Producers,
        *,
        cluster: Cluster,
        metrics: Metrics,
        report: RekeyReport,
        health: Component,
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._settings = settings
        self._source = source
        self._positions = positions
        self._rekeying = rekeying
        self._producers = producers
        self._cluster = cluster
        self._metrics = metrics
        self._report = report
        self._health = health
        self._laps: Laps
        self._stop = threading.Event()
        self._unassigned: list[int] = []
        self._held = HeldPartitions(source)

    def run(self) -> None:
        """Loop until told to stop, then leave the group; raises what is a bug."""
        self._health.wait("joining the consumer group")
        try:
            with self._metrics.laps("rekey", "start") as self._laps:
                while not self._stop.is_set():
                    self._health.beat(time.monotonic())
                    self._turn()
            log.info("rekey stage drained")
        finally:
            self._producers.close()
            self._source.close()
            self._health.stop_watching()

    def drain(self) -> None:
        """Stop after the transaction in progress; safe from any thread."""
        self._stop.set()

    def _turn(self) -> None:
        """Do one round: restore, consume, work."""
        positions = self._positions
        self._laps.to("start")
        try:
            producer = self._producers.present()
            if self._unassigned:
                positions.assign(self._unassigned)
                self._unassigned = []
            restoring = bool(positions.restoring)
            if restoring:
                self._laps.to("restore")
                positions.restore(RESTORE_SECONDS)
                self._introduce(producer)
            self._laps.to("report")
            now = time.monotonic()
            self._held.release(positions.next_offsets(), now)
            self._report.show(
                positions,
                self._source.ends(),
                self._held.why(),
                waiting=bool(self._unassigned) or not self._source.joined,
            )
            self._laps.to("idle")
            settings = self._settings.aggregate
            wait = 0.0 if restoring else settings.commit_interval
            batch = self._source.consume(settings.max_batch, wait)
            self._laps.to("report")
            self._rebalance()
            for number, why in batch.out_of_range.items():
                positions.halt(number, out_of_range(number, why))
            if batch.records is not None:
                self._consumed(batch.records, producer)
        except UNCLEAN as error:
            self._recover(error)

    def _rebalance(self) -> None:
        """Take over what changed hands during the last consume call."""
        change = self._source.rebalance()
        self._report.rebalanced(change)
        leaving = {*change.revoked, *change.lost}
        self._positions.close(leaving)
        self._held.forget(leaving)
        self._unassigned = [n for n in self._unassigned if n not in leaving]
        self._unassigned += change.assigned

    def _consumed(self, records: Records, producer: TransactionalProducer) -> None:
        """Work the records of running partitions; others come again after a seek."""
        held = self._held.why()
        flowing = [n for n in self._positions.running if n not in held]
        running = np.array(flowing, np.int32)
        ours = np.isin(records.partitions, running)
        if not ours.all():
            records = records.take(np.flatnonzero(ours))
        if not len(records):
            return
        self._report.taken(records)
        self._laps.to("work")
        try:
            tallies = {n: one.tally for n, one in self._positions.running.items()}
            rekeyed = self._rekeying.work(records, tallies)
        except PartitionHalt as unusable:
            # A schema that cannot be used: whoever produced by it is all over.
            for number in np.unique(records.partitions).tolist():
                self._positions.halt(number, unusable)
            return
        if len(rekeyed.records):
            self._write(rekeyed, producer)
            self._laps.to("report")
            self._report.committed(rekeyed)
        for number, halt in rekeyed.halts.items():
            self._positions.halt(number, halt)
        self._held.hold(rekeyed.waits, time.monotonic())

    def _write(self, rekeyed: Rekeyed, producer: TransactionalProducer) -> None:
        """Write a batch in one transaction."""
        topics, records = self._settings.topics, rekeyed.records
        self._laps.to("produce")
        producer.begin()
        places = list(
            zip(
                records.partitions.tolist(),
                records.offsets.tolist(),
                records.timestamps.tolist(),
                strict=True,
            )
        )
        for row, key in zip(rekeyed.rows, rekeyed.keys, strict=True):
            partition, offset, timestamp = places[row]
            origin = f"{topics.source}/{partition}/{offset}".encode()
            producer.forward(
                topics.purchases,
                key,
                records.values[row] or b"",
                [*records.headers(row), (ORIGIN, origin)],
                timestamp,
            )
        letters = dead_letters_of(
            rekeyed.verdicts,
            records,
            topics.source,
            topics.dead_letters,
            self._cluster,
        )
        for home, refused in letters.items():
            producer.produce_headed(topics.dead_letters, home, refused)
        failpoint("after-rekey-produce")
        self._commit(
            self._positions.after(records.next_offsets(), rekeyed.tallies), producer
        )

    def _introduce(self, producer: TransactionalProducer) -> None:
        """Write the first positions of new partitions, before they have a record."""
        fresh, self._positions.new = self._positions.new, {}
        if fresh:
            producer.begin()
            self._commit(fresh, producer)

    def _commit(
        self,
        reached: Mapping[int, SourcePosition],
        producer: TransactionalProducer,
    ) -> None:
        """Add the positions reached, and commit."""
        topics, positions = self._settings.topics, self._positions
        for number, position in reached.items():
            home = positions.home(number)
            producer.produce(topics.rekey_state, home, [to_record(number, position)])
        self._laps.to("commit")
        next_offsets = {number: one.next_offset for number, one in reached.items()}
        producer.commit(topics.source, next_offsets, self._source.group_metadata())
        positions.advance(reached)
        self._metrics.transactions.labels("committed").inc()

    def _recover(self, error: PosConsumerError) -> None:
        """Start anew after an unclean end; the positions tell what committed."""
        self._laps.to("recover")
        self._rebalance()  # what the same call lost is not ours to take up again
        self._report.recovering(error)
        self._producers.discard(error)
        held = [*self._positions.running, *self._positions.restoring]
        self._positions.close(held)
        self._held.forget(held)
        self._source.pause(held)
        self._unassigned += [n for n in held if n not in self._unassigned]
        self._stop.wait(RECOVERY_PAUSE_SECONDS)
