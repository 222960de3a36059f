"""Prometheus' objects of the catalogue, for the stages to set.

Stages record per batch, never per event. Everything may be called from any thread.
"""

from __future__ import annotations

import platform
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from consumer.telemetry.catalogue import CATALOGUE, PREFIX
from consumer.telemetry.histogram import BatchHistogram
from consumer.telemetry.labels import STAGE_OF, STEPS
from consumer.telemetry.laps import Laps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.telemetry.catalogue import Declared, Kind
    from consumer.telemetry.health import Health
    from consumer.telemetry.labels import Loop, Stage

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nobody queries


class Metrics:
    """All metrics, in a registry of their own; attributes are named as declared."""

    def __init__(self) -> None:
        """Make every metric; series that are known beforehand start at zero."""
        self.registry = CollectorRegistry()
        self._laps: set[Laps] = set()
        self._lock = Lock()
        self._aggregate()
        self._kafka()
        self._clients()
        self._upload()
        self._latency_and_process()
        ProcessCollector(registry=self.registry)

    def _aggregate(self) -> None:
        self.records = self._counter("records")
        self.dead_letters = self._counter("dead_letters")
        self.rekeyed_records = self._counter("rekeyed_records")
        self.profiles_written = self._counter("profiles_written")
        self.filtered_events = self._counter("filtered_events")
        self.conflicts = self._counter("conflicts")
        self.erased_profiles = self._counter("erased_profiles")
        self.ticked_profiles = self._counter("ticked_profiles")
        self.transactions = self._counter("transactions")
        self.producer_recycles = self._counter("producer_recycles")
        self.batch_records = self._histogram("batch_records")
        self.batch_visitors = self._histogram("batch_visitors")
        self.store_bytes = self._gauge("store_bytes")

    def _kafka(self) -> None:
        self.consumed_records = self._counter("consumed_records")
        self.consumed_bytes = self._counter("consumed_bytes")
        self.batches = self._counter("batches")
        self.step_seconds = self._counter("step_seconds")
        self.rebalances = self._counter("rebalances")
        self.partitions = self._gauge("partitions")
        self.partition_assigned = self._gauge("partition_assigned")
        self.partition_halted = self._gauge("partition_halted")
        self.lag_records = self._gauge("lag_records")
        self.lag_seconds = self._gauge("lag_seconds")
        self.unstable_records = self._gauge("unstable_records")
        self.unstable_seconds = self._gauge("unstable_seconds")
        self.restored_records = self._counter("restored_records")
        self.restore_seconds = self._counter("restore_seconds")
        self.restore_remaining_records = self._gauge("restore_remaining_records")

    def _clients(self) -> None:
        self.kafka_received_bytes = self._counter("kafka_received_bytes")
        self.kafka_sent_bytes = self._counter("kafka_sent_bytes")
        self.kafka_errors = self._counter("kafka_errors")
        self.kafka_timeouts = self._counter("kafka_timeouts")
        self.kafka_disconnects = self._counter("kafka_disconnects")
        self.kafka_brokers_up = self._gauge("kafka_brokers_up")
        self.kafka_round_trip_seconds = self._gauge("kafka_round_trip_seconds")
        self.kafka_queue_messages = self._gauge("kafka_queue_messages")
        self.kafka_queue_bytes = self._gauge("kafka_queue_bytes")

    def _upload(self) -> None:
        self.upload_rows = self._counter("upload_rows")
        self.upload_bytes = self._counter("upload_bytes")
        self.upload_batches = self._counter("upload_batches")
        self.upload_file_bytes = self._histogram("upload_file_bytes")
        self.batch_ends = self._counter("batch_ends")
        self.confirmed_rows = self._counter("confirmed_rows")
        self.failed_updates = self._counter("failed_updates")
        self.profiles_not_found = self._counter("profiles_not_found")
        self.calls = self._counter("calls")
        self.budget_calls_per_minute = self._gauge("budget_calls_per_minute")
        self.status_answers = self._counter("status_answers")
        self.retries = self._counter("retries")
        self.rejected_rows = self._counter("rejected_rows")
        self.row_warnings = self._counter("row_warnings")
        self.resent_rows = self._counter("resent_rows")
        self.sampled_rows = self._counter("sampled_rows")
        self.version_regressions = self._counter("version_regressions")
        self.in_flight_batches = self._gauge("in_flight_batches")
        self.pending_rows = self._gauge("pending_rows")
        self.pending_bytes = self._gauge("pending_bytes")
        self.token_expiry_timestamp_seconds = self._gauge(
            "token_expiry_timestamp_seconds", at_zero=False
        )

    def _latency_and_process(self) -> None:
        self.event_to_committed = self._histogram("event_to_committed_seconds")
        self.event_to_accepted = self._histogram("event_to_accepted_seconds")
        self.event_to_confirmed = self._histogram("event_to_confirmed_seconds")
        self.loop_heartbeat = self._gauge("loop_heartbeat_timestamp_seconds")
        self.ready = self._gauge("ready")
        self.degraded = self._gauge("degraded")
        self.log_lines = self._counter("log_lines")
        self.build = Info(
            "build",
            CATALOGUE["build"].about,
            namespace=PREFIX,
            registry=self.registry,
        )

    def _counter(self, name: str) -> Counter:
        declared = _declared(name, "counter")
        made = Counter(
            name,
            declared.about,
            list(declared.labels),
            namespace=PREFIX,
            registry=self.registry,
        )
        for values in declared.series():
            made.labels(*values)
        return made

    def _gauge(self, name: str, *, at_zero: bool = True) -> Gauge:
        declared = _declared(name, "gauge")
        made = Gauge(
            name,
            declared.about,
            list(declared.labels),
            namespace=PREFIX,
            registry=self.registry,
        )
        for values in declared.series() if at_zero else ():
            made.labels(*values)
        return made

    def _histogram(self, name: str) -> BatchHistogram:
        declared = _declared(name, "histogram")
        return BatchHistogram(
            declared.full_name, declared.about, declared.buckets, self.registry
        )

    @contextmanager
    def laps(
        self,
        loop: Loop,
        first: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Iterator[Laps]:
        """Name every second of a loop, from here to the end of the block."""
        stage = STAGE_OF[loop]
        steps = {s: self.step_seconds.labels(stage, loop, s) for s in STEPS[loop]}
        laps = Laps(steps, first, monotonic)
        with self._lock:
            self._laps.add(laps)
        try:
            yield laps
        finally:
            laps.end()
            with self._lock:
                self._laps.discard(laps)

    def forget_partition(self, stage: Stage, partition: int) -> None:
        """Drop the series of a partition that is no longer ours."""
        place = {"stage": stage, "partition": str(partition)}
        for gauge in (
            self.partition_assigned,
            self.partition_halted,
            self.lag_records,
            self.lag_seconds,
            self.unstable_records,
            self.unstable_seconds,
        ):
            gauge.remove_by_labels(place)
        if stage == "aggregate":
            self.restore_remaining_records.remove_by_labels(
                {"partition": str(partition)}
            )

    def describe_build(self, version: str, librdkafka: str) -> None:
        """Say which versions run."""
        python = platform.python_version()
        self.build.info(
            {"version": version, "python": python, "librdkafka": librdkafka}
        )

    def reflect(self, health: Health, monotonic: float, now: float) -> None:
        """Take over what `health` and the loops' clocks know, just before a scrape."""
        readiness = health.readiness()
        self.ready.set(readiness.ready)
        self.degraded.set(bool(readiness.degraded))
        for loop, moved in health.heartbeats().items():
            self.loop_heartbeat.labels(loop).set(now - (monotonic - moved))
        with self._lock:
            running = tuple(self._laps)
        for laps in running:
            laps.scrape()


def _declared(name: str, kind: Kind) -> Declared:
    declared = CATALOGUE[name]
    if declared.kind != kind:
        message = f"{name} is declared as a {declared.kind}, not as a {kind}"
        raise TypeError(message)
    return declared
