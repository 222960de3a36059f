"""The catalogue: every metric of the service, declared here and nowhere else.

Names follow Prometheus: prefix `pos_consumer_`, base units, `_total` on counters.
Labels come from the bounded sets below or are partition numbers; a visitor id is never
one. Stages record per batch, never per event. Everything may be called from any thread.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
)

from consumer.telemetry.histogram import BatchHistogram

if TYPE_CHECKING:
    from consumer.telemetry.health import Health

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nobody queries

Stage = Literal["aggregate", "upload"]

PREFIX: Final = "pos_consumer"
OUTCOMES: Final = ("folded", "duplicate", "filtered", "dead_lettered")
STEPS: Final = {
    "aggregate": (
        "fetch",
        "decode",
        "map",
        "deduplicate",
        "gather",
        "fold",
        "merge",
        "encode",
        "produce",
        "commit",
        "store",
    ),
    "upload": (
        "fetch",
        "render",
        "encode",
        "wait_budget",
        "post",
        "status",
        "ledger",
    ),
}
TRANSACTION_RESULTS: Final = ("committed", "aborted", "failed")
UPLOAD_OUTCOMES: Final = (
    "accepted",
    "retry",
    "throttled",
    "split",
    "rejected",
    "unauthorised",
)
BATCH_ENDS: Final = ("complete", "failed", "stuck", "forgotten", "overdue")
CALL_KINDS: Final = ("submit", "status")
SECONDS_BUCKETS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0),
)


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Declare every metric; bounded series start at zero."""
        self.registry = CollectorRegistry()
        self._declare_aggregate()
        self._declare_kafka()
        self._declare_upload()
        self._declare_latency()
        self._declare_process()

    def _declare_aggregate(self) -> None:
        self.records = self._counter(
            "records",
            "Records by what became of them; each is counted once.",
            "outcome",
        )
        for outcome in OUTCOMES:
            self.records.labels(outcome)
        self.dead_letters = self._counter(
            "dead_letters", "Records kept as dead letters, by reason.", "reason"
        )
        self.duplicates = self._counter(
            "duplicates",
            "Repeated event ids: the same event again, or in conflict with the first.",
            "kind",
        )
        for kind in ("repeat", "conflict"):
            self.duplicates.labels(kind)
        self.profiles_written = self._counter(
            "profiles_written", "Changed profiles in committed transactions."
        )
        self.transactions = self._counter(
            "transactions", "Kafka transactions, by how they ended.", "result"
        )
        for result in TRANSACTION_RESULTS:
            self.transactions.labels(result)
        self.producer_recycles = self._counter(
            "producer_recycles", "Producers replaced after a transaction was unclean."
        )

    def _declare_kafka(self) -> None:
        self.consumed_records = self._counter(
            "consumed_records", "Records taken from Kafka.", "stage"
        )
        self.consumed_bytes = self._counter(
            "consumed_bytes", "Bytes of keys and values taken from Kafka.", "stage"
        )
        self.batches = self._counter(
            "batches", "Batches of records worked on; not the files sent.", "stage"
        )
        self.step_seconds = self._counter(
            "step_seconds", "Where each stage's time goes.", "stage", "step"
        )
        self.rebalances = self._counter(
            "rebalances", "Changes of assignment, by kind.", "stage", "kind"
        )
        for stage, steps in STEPS.items():
            for counter in (self.consumed_records, self.consumed_bytes, self.batches):
                counter.labels(stage)
            for step in steps:
                self.step_seconds.labels(stage, step)
            for kind in ("assigned", "revoked", "lost"):
                self.rebalances.labels(stage, kind)
        self.partition_assigned = self._gauge(
            "partition_assigned", "1 while this replica owns it.", "stage", "partition"
        )
        self.partition_halted = self._gauge(
            "partition_halted",
            "1 while it is paused by a problem that a person must solve.",
            "partition",
            "reason",
        )
        self.lag_records = self._gauge(
            "lag_records", "Records not yet worked on.", "stage", "partition"
        )
        self.restored_records = self._counter(
            "restored_records", "Records read to bring the local store up to date."
        )
        self.restore_seconds = self._counter(
            "restore_seconds", "Time spent bringing the local store up to date."
        )

    def _declare_upload(self) -> None:
        self.upload_rows = self._counter(
            "upload_rows", "Rows sent to Target, by the answer.", "outcome"
        )
        self.upload_bytes = self._counter(
            "upload_bytes", "Bytes of batch files sent, by the answer.", "outcome"
        )
        self.upload_batches = self._counter(
            "upload_batches", "Batch files sent to Target, by the answer.", "outcome"
        )
        for outcome in UPLOAD_OUTCOMES:
            for counter in (self.upload_rows, self.upload_bytes, self.upload_batches):
                counter.labels(outcome)
        self.batch_ends = self._counter(
            "batch_ends", "Accepted batches, by the end that was found.", "end"
        )
        for end in BATCH_ENDS:
            self.batch_ends.labels(end)
        self.failed_updates = self._counter(
            "failed_updates", "Rows that Target reports as not applied."
        )
        self.profiles_not_found = self._counter(
            "profiles_not_found", "Rows for which Target reports no profile."
        )
        self.calls = self._counter(
            "calls", "Calls to Target, all of them within the budget.", "kind"
        )
        for kind in CALL_KINDS:
            self.calls.labels(kind)
        self.retries = self._counter("retries", "Calls tried again, by cause.", "cause")
        self.rejected_rows = self._counter(
            "rejected_rows", "Rows that Target cannot take, by reason.", "reason"
        )
        self.in_flight_batches = self._gauge(
            "in_flight_batches", "Batches accepted by Target whose end is not known."
        )
        self.pending_rows = self._gauge("pending_rows", "Rows waiting for a batch.")
        self.pending_bytes = self._gauge(
            "pending_bytes", "Memory of the rows waiting for a batch."
        )

    def _declare_latency(self) -> None:
        self.event_to_committed = self._histogram(
            "event_to_committed_seconds",
            "From an event's record timestamp to its profile's commit.",
        )
        self.event_to_accepted = self._histogram(
            "event_to_accepted_seconds",
            "From a profile's newest event to Target's acceptance of its row.",
        )

    def _declare_process(self) -> None:
        self.loop_heartbeat = self._gauge(
            "loop_heartbeat_timestamp_seconds",
            "When each loop last moved, in seconds since the epoch.",
            "loop",
        )
        self.ready = self._gauge("ready", "1 while this replica is ready.")
        self.degraded = self._gauge("degraded", "1 while something is halted.")
        self.build = Info(
            "build",
            "What is running; the value is always 1.",
            namespace=PREFIX,
            registry=self.registry,
        )

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(self, name: str, about: str) -> BatchHistogram:
        return BatchHistogram(f"{PREFIX}_{name}", about, SECONDS_BUCKETS, self.registry)

    def add_seconds(self, stage: Stage, step: str, seconds: float) -> None:
        """Add to a stage's step; ValueError for a step that is not in the catalogue."""
        if step not in STEPS[stage]:
            message = f"{stage} has no step {step!r}"
            raise ValueError(message)
        self.step_seconds.labels(stage, step).inc(seconds)

    def forget_partition(self, stage: Stage, partition: int) -> None:
        """Drop the series of a partition that is no longer ours."""
        for gauge in (self.partition_assigned, self.lag_records):
            gauge.remove_by_labels({"stage": stage, "partition": str(partition)})
        self.partition_halted.remove_by_labels({"partition": str(partition)})

    def describe_build(self, version: str, librdkafka: str) -> None:
        """Say which versions run."""
        python = platform.python_version()
        self.build.info(
            {"version": version, "python": python, "librdkafka": librdkafka}
        )

    def reflect(self, health: Health, monotonic: float, now: float) -> None:
        """Take over what `health` knows, just before a scrape."""
        readiness = health.readiness()
        self.ready.set(readiness.ready)
        self.degraded.set(bool(readiness.degraded))
        for loop, moved in health.heartbeats().items():
            self.loop_heartbeat.labels(loop).set(now - (monotonic - moved))
