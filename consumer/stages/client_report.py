"""Turns the statistics of one Kafka client into metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from consumer.kafka.statistics import ClientStatistics
    from consumer.telemetry.labels import Stage
    from consumer.telemetry.metrics import Metrics

Client = Literal["purchases", "producer", "profiles"]


class ClientReport:
    """Called with each statistics of a client, on whatever thread polls it.

    A client that is made anew counts from zero again: its totals are added up. With
    `stage`, the partitions it reads are that stage's.
    """

    def __init__(
        self, metrics: Metrics, client: Client, stage: Stage | None = None
    ) -> None:
        """Know of no totals yet."""
        self._metrics = metrics
        self._client = client
        self._stage = stage
        self._totals: dict[str, int] = {}

    def __call__(self, found: ClientStatistics) -> None:
        """Record them."""
        metrics, client = self._metrics, self._client
        totals = {
            "kafka_received_bytes": found.received_bytes,
            "kafka_sent_bytes": found.sent_bytes,
            "kafka_errors": found.errors,
            "kafka_timeouts": found.timeouts,
            "kafka_disconnects": found.disconnects,
        }
        for name, total in totals.items():
            before = self._totals.get(name, 0)
            grown = total - before if total >= before else total
            getattr(metrics, name).labels(client).inc(grown)
        self._totals = totals
        metrics.kafka_brokers_up.labels(client).set(found.brokers_up)
        metrics.kafka_round_trip_seconds.labels(client).set(found.round_trip_seconds)
        metrics.kafka_queue_messages.labels(client).set(found.queue_messages)
        metrics.kafka_queue_bytes.labels(client).set(found.queue_bytes)
        if self._stage is not None:
            for partition, records in found.unstable.items():
                place = self._stage, str(partition)
                metrics.unstable_records.labels(*place).set(records)
