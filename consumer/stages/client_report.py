"""Turns the statistics of one Kafka client into metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.kafka.statistics import ClientStatistics, Hidden
    from consumer.telemetry.labels import Stage
    from consumer.telemetry.metrics import Metrics

Client = Literal["source", "rekeyer", "purchases", "producer", "profiles"]


class ClientReport:
    """Called with each statistics of a client, on whatever thread polls it.

    A client that is made anew counts from zero again: its totals are added up. With
    `stage`, the partitions it reads are that stage's.
    """

    def __init__(
        self,
        metrics: Metrics,
        client: Client,
        stage: Stage | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know of no totals yet."""
        self._metrics = metrics
        self._client = client
        self._stage = stage
        self._monotonic = monotonic
        self._totals: dict[str, int] = {}
        self._open: dict[int, tuple[int, float]] = {}

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
            self._show_hidden(self._stage, found.hidden)

    def _show_hidden(self, stage: Stage, hidden: Mapping[int, Hidden]) -> None:
        """Show what open transactions hide, and since when it is the same one.

        While a partition moves on, there may always be some open transaction.
        """
        now, before = self._monotonic(), self._open
        self._open = {}
        for partition, one in hidden.items():
            since = now
            if one.records:
                stable, began = before.get(partition, (one.stable, now))
                since = began if stable == one.stable else now
                self._open[partition] = one.stable, since
            place = stage, str(partition)
            self._metrics.unstable_records.labels(*place).set(one.records)
            self._metrics.unstable_seconds.labels(*place).set(now - since)
