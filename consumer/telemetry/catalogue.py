"""The metric catalogue: every metric of the service, declared here and nowhere else.

Data only; `metrics` makes Prometheus' objects of it and `reference` the page
docs/metrics.md. Names follow Prometheus: prefix `pos_consumer_`, base units, `_total`
on counters. Labels come from the bounded sets in `labels`, or are partition numbers or
the short reasons that the code knows; a visitor id is never one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

from consumer.telemetry.labels import (
    BATCH_ENDS,
    CALL_KINDS,
    CLIENTS,
    ERASURES,
    FILTERS,
    OUTCOMES,
    REBALANCE_KINDS,
    RECYCLE_CAUSES,
    REGRESSIONS,
    RESENT_CAUSES,
    RETRY_CAUSES,
    ROW_WARNINGS,
    SAMPLES,
    STAGE_OF,
    STAGES,
    STATUS_ANSWERS,
    STEPS,
    TICKS,
    TRANSACTION_RESULTS,
    UPLOAD_OUTCOMES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["counter", "gauge", "histogram", "info"]
Across = Literal["sum", "max", "by replica"]

PREFIX: Final = "pos_consumer"
SECONDS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0),
)
ROWS: Final = (1.0, 10.0, 100.0, 1e3, 2.5e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2.5e5, 5e5)
BYTES: Final = (1e3, 1e4, 1e5, 1e6, 5e6, 1e7, 2e7, 3e7, 4e7, 5e7)

_REASON: Final = "a short reason"
_PARTITION: Final = "a partition number"
Values = tuple[str, ...] | str


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric; `labels` maps each to its values, or to a word for an open set.

    `across` says how replicas combine: `sum` (each counts its own share), `max` (all
    say the same, or only an owner does and a moved partition may show twice) or
    `by replica` (a figure of one process).
    """

    name: str
    kind: Kind
    about: str
    labels: Mapping[str, Values] = field(default_factory=dict)
    across: Across = "sum"
    buckets: tuple[float, ...] = SECONDS

    @property
    def full_name(self) -> str:
        """The name as PromQL knows it; a histogram's series add their ending."""
        ending = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return f"{PREFIX}_{self.name}{ending}"

    def series(self) -> Iterator[tuple[str, ...]]:
        """Give the label values that are known beforehand, to start at zero."""
        if self.name == "step_seconds":
            for loop, steps in STEPS.items():
                yield from ((STAGE_OF[loop], loop, step) for step in steps)
        elif self.labels and not any(isinstance(v, str) for v in self.labels.values()):
            yield from product(*self.labels.values())


_STAGE: Final[Mapping[str, Values]] = {"stage": STAGES}
_PLACE: Final[Mapping[str, Values]] = {"stage": STAGES, "partition": _PARTITION}
_CLIENT: Final[Mapping[str, Values]] = {"client": CLIENTS}

AGGREGATE: Final = (
    Declared(
        "records",
        "counter",
        "Records by what became of them; each is counted once, after its commit.",
        {"outcome": OUTCOMES},
    ),
    Declared(
        "dead_letters",
        "counter",
        "Records kept as dead letters, by reason.",
        {"reason": _REASON},
    ),
    Declared(
        "rekeyed_records",
        "counter",
        "Records that the stage rekey wrote anew by visitor.",
    ),
    Declared(
        "profiles_written", "counter", "Changed profiles in committed transactions."
    ),
    Declared(
        "filtered_events",
        "counter",
        "Events that were filtered although they were sound, by why. They are among "
        "the records with that outcome.",
        {"reason": FILTERS},
    ),
    Declared(
        "conflicts",
        "counter",
        "Duplicates whose value is another than that of the first event with their id. "
        "They are among the records with that outcome.",
    ),
    Declared(
        "erased_profiles",
        "counter",
        "Profiles replaced by erased rows, and deleted once Target had these.",
        {"step": ERASURES},
    ),
    Declared(
        "ticked_profiles",
        "counter",
        "Profiles written or deleted because a day has passed, without an event.",
        {"why": TICKS},
    ),
    Declared(
        "transactions",
        "counter",
        "Kafka transactions, by how they ended.",
        {"result": TRANSACTION_RESULTS},
    ),
    Declared(
        "producer_recycles",
        "counter",
        "Producers replaced after an unclean transaction, by cause.",
        {"cause": RECYCLE_CAUSES},
    ),
    Declared(
        "batch_records",
        "histogram",
        "Records of one committed batch.",
        buckets=ROWS,
    ),
    Declared(
        "batch_visitors",
        "histogram",
        "Visitors whose profile one committed batch changed.",
        buckets=ROWS,
    ),
    Declared(
        "store_bytes",
        "gauge",
        "Disk taken by the local stores of this replica.",
        across="by replica",
    ),
)
KAFKA: Final = (
    Declared("consumed_records", "counter", "Records taken from Kafka.", _STAGE),
    Declared(
        "consumed_bytes", "counter", "Bytes of the values taken from Kafka.", _STAGE
    ),
    Declared(
        "batches",
        "counter",
        "Batches of records worked on; not the files sent.",
        _STAGE,
    ),
    Declared(
        "step_seconds",
        "counter",
        "Where each loop's wall time goes; the steps of a loop add up to it.",
        {"stage": STAGES, "loop": tuple(STEPS), "step": "a step of that loop"},
    ),
    Declared(
        "rebalances",
        "counter",
        "Changes of assignment, by kind.",
        {"stage": STAGES, "kind": REBALANCE_KINDS},
    ),
    Declared(
        "partitions",
        "gauge",
        "Partitions that all replicas of the stage must own between them.",
        {"stage": "rekey, aggregate or upload, once it runs here"},
        "max",
    ),
    Declared(
        "partition_assigned",
        "gauge",
        "1 while this replica owns the partition.",
        _PLACE,
        "max",
    ),
    Declared(
        "partition_halted",
        "gauge",
        "1 while a partition is paused by a problem that a person must solve.",
        {**_PLACE, "reason": _REASON},
        "max",
    ),
    Declared("lag_records", "gauge", "Records not yet worked on.", _PLACE, "max"),
    Declared(
        "lag_seconds",
        "gauge",
        "Age of the oldest record not yet worked on, 0 without any.",
        _PLACE,
        "max",
    ),
    Declared(
        "unstable_records",
        "gauge",
        "Records behind an open transaction, which nobody may read yet.",
        _PLACE,
        "max",
    ),
    Declared(
        "unstable_seconds",
        "gauge",
        "For how long the same open transaction has kept records from being read.",
        _PLACE,
        "max",
    ),
    Declared(
        "restored_records",
        "counter",
        "Records read to bring the local store up to date.",
    ),
    Declared(
        "restore_seconds",
        "counter",
        "Time from a partition's assignment until it was restored.",
    ),
    Declared(
        "restore_remaining_records",
        "gauge",
        "Records still to read until a partition is restored.",
        {"partition": _PARTITION},
        "max",
    ),
)
CLIENT: Final = (
    Declared("kafka_received_bytes", "counter", "Bytes read from brokers.", _CLIENT),
    Declared("kafka_sent_bytes", "counter", "Bytes written to brokers.", _CLIENT),
    Declared("kafka_errors", "counter", "Requests that failed on their way.", _CLIENT),
    Declared(
        "kafka_timeouts", "counter", "Requests that brokers did not answer.", _CLIENT
    ),
    Declared(
        "kafka_disconnects", "counter", "Connections to brokers that ended.", _CLIENT
    ),
    Declared(
        "kafka_brokers_up",
        "gauge",
        "Brokers that this client is connected to.",
        _CLIENT,
        "by replica",
    ),
    Declared(
        "kafka_round_trip_seconds",
        "gauge",
        "The slowest broker's 99th percentile of round trips, over the last interval.",
        _CLIENT,
        "max",
    ),
    Declared(
        "kafka_queue_messages",
        "gauge",
        "Records prefetched by a consumer, or not yet sent by the producer.",
        _CLIENT,
    ),
    Declared("kafka_queue_bytes", "gauge", "Bytes of those records.", _CLIENT),
)
UPLOAD: Final = (
    Declared(
        "upload_rows",
        "counter",
        "Rows sent to Target, by the answer.",
        {"outcome": UPLOAD_OUTCOMES},
    ),
    Declared(
        "upload_bytes",
        "counter",
        "Bytes of batch files sent, by the answer.",
        {"outcome": UPLOAD_OUTCOMES},
    ),
    Declared(
        "upload_batches",
        "counter",
        "Batch files sent to Target, by the answer.",
        {"outcome": UPLOAD_OUTCOMES},
    ),
    Declared(
        "upload_file_bytes",
        "histogram",
        "Size of the batch files that Target accepted.",
        buckets=BYTES,
    ),
    Declared(
        "batch_ends",
        "counter",
        "Accepted batches, by the end that was found; overdue ones may end yet.",
        {"end": BATCH_ENDS},
    ),
    Declared(
        "confirmed_rows", "counter", "Rows of batches that Target reports as complete."
    ),
    Declared("failed_updates", "counter", "Rows that Target reports as not applied."),
    Declared(
        "profiles_not_found", "counter", "Rows for which Target reports no profile."
    ),
    Declared(
        "calls",
        "counter",
        "Calls to Target, all of them within the budget.",
        {"kind": CALL_KINDS},
    ),
    Declared(
        "budget_calls_per_minute",
        "gauge",
        "Calls a minute that all replicas may make together, the reserve taken off.",
        across="max",
    ),
    Declared(
        "status_answers",
        "counter",
        "Answers to the question how a batch stands.",
        {"progress": STATUS_ANSWERS},
    ),
    Declared(
        "retries",
        "counter",
        "Files to be sent again, by cause.",
        {"cause": RETRY_CAUSES},
    ),
    Declared(
        "rejected_rows",
        "counter",
        "Rows that Target cannot take, kept with their reason.",
        {"reason": _REASON},
    ),
    Declared(
        "row_warnings",
        "counter",
        "Rows sent although a visitor id exceeds 128 characters, or a value 256.",
        {"what": ROW_WARNINGS},
    ),
    Declared(
        "resent_rows",
        "counter",
        "Rows of unchanged profiles put among the waiting ones, by what asked for it.",
        {"cause": RESENT_CAUSES},
    ),
    Declared(
        "sampled_rows",
        "counter",
        "Confirmed rows looked up at Target; unknown: it could not be told.",
        {"found": SAMPLES},
    ),
    Declared(
        "version_regressions",
        "counter",
        "Profiles whose version went back, or came twice with different contents.",
        {"kind": REGRESSIONS},
    ),
    Declared(
        "in_flight_batches",
        "gauge",
        "Batches accepted by Target whose end is not known.",
    ),
    Declared("pending_rows", "gauge", "Rows waiting for a file."),
    Declared("pending_bytes", "gauge", "Memory of the rows held."),
    Declared(
        "token_expiry_timestamp_seconds",
        "gauge",
        "When the profile token ends, where it says so itself (a JWT).",
        {"token": ("profile",)},
        "max",
    ),
)
LATENCY: Final = (
    Declared(
        "event_to_committed_seconds",
        "histogram",
        "From an event's record timestamp to its profile's commit.",
    ),
    Declared(
        "event_to_accepted_seconds",
        "histogram",
        "From the oldest new event in a row to Target's acceptance of the row.",
    ),
    Declared(
        "event_to_confirmed_seconds",
        "histogram",
        "From the oldest new event in a row to the end of its batch at Target.",
    ),
)
PROCESS: Final = (
    Declared(
        "loop_heartbeat_timestamp_seconds",
        "gauge",
        "When each loop last moved, in seconds since the epoch.",
        {"loop": "rekey, aggregate or upload, once it runs here"},
        "by replica",
    ),
    Declared("ready", "gauge", "1 while this replica is ready.", {}, "by replica"),
    Declared("degraded", "gauge", "1 while something is halted.", {}, "by replica"),
    Declared(
        "log_lines",
        "counter",
        "Lines logged at warning or above, repeats that were held back included.",
        {"level": ("warning", "error", "critical")},
    ),
    Declared(
        "build",
        "info",
        "What is running; the value is always 1.",
        {"version": "ours", "python": "its version", "librdkafka": "its version"},
        "by replica",
    ),
)
GROUPS: Final[Mapping[str, tuple[Declared, ...]]] = {
    "Aggregate": AGGREGATE,
    "Both stages": KAFKA,
    "Kafka clients": CLIENT,
    "Upload": UPLOAD,
    "Latency": LATENCY,
    "Process": PROCESS,
}
CATALOGUE: Final[Mapping[str, Declared]] = {
    declared.name: declared for group in GROUPS.values() for declared in group
}
