"""What a stage that reads, works and commits in a loop tells of itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from consumer.errors import BrokerUnreachable, Fenced, ProducerFenced
from consumer.packed import Packed

if TYPE_CHECKING:
    from consumer.errors import PosConsumerError
    from consumer.frames import Records, Verdicts
    from consumer.kafka.input import Rebalance
    from consumer.telemetry.health import Component
    from consumer.telemetry.labels import Stage
    from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class LoopReport:
    """Used by the stage's thread only; told facts once a batch, never once an event."""

    def __init__(self, metrics: Metrics, stage: Stage, health: Component) -> None:
        """Count under the name of `stage`."""
        self._metrics = metrics
        self._stage = stage
        self._health = health

    def taken(self, records: Records) -> int:
        """Count records taken to be worked; returns their bytes."""
        size = bytes_of(records)
        self._metrics.consumed_records.labels(self._stage).inc(len(records))
        self._metrics.consumed_bytes.labels(self._stage).inc(size)
        self._metrics.batches.labels(self._stage).inc()
        return size

    def refused(self, verdicts: Verdicts) -> None:
        """Count a batch's dead letters by reason."""
        reasons = Counter(one.reason for one in verdicts.dead_letters)
        for reason, count in reasons.items():
            self._metrics.dead_letters.labels(reason).inc(count)

    def rebalanced(self, change: Rebalance) -> None:
        """Count and log what changed hands."""
        for kind in ("revoked", "lost", "assigned"):
            if numbers := getattr(change, kind):
                self._metrics.rebalances.labels(self._stage, kind).inc()
                log.info(
                    "assignment changed",
                    stage=self._stage,
                    kind=kind,
                    partitions=sorted(numbers),
                )

    def recovering(self, error: PosConsumerError) -> None:
        """Record why everything starts over."""
        log.warning("starting over from the last commit", what=error.what)
        self._health.wait("starting over from the last commit")
        self._metrics.transactions.labels("failed").inc()
        self._metrics.producer_recycles.labels(_cause(error)).inc()


def bytes_of(records: Records) -> int:
    """Add up the bytes of the values."""
    return int(Packed.of(records.values).sizes.sum())


def _cause(error: PosConsumerError) -> str:
    match error:
        case ProducerFenced():
            return "producer_fenced"
        case Fenced():
            return "member_fenced"
        case BrokerUnreachable():
            return "broker_unreachable"
        case _:
            return "transaction_failed"
