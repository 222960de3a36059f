"""From purchases to profiles: throughput, refusals, where the time goes, partitions."""

from __future__ import annotations

from typing import Final

from dashboards import thresholds as t
from dashboards.panels import (
    Page,
    Panel,
    Query,
    Row,
    mean,
    owned,
    quantile,
    rate,
    series,
)

AGGREGATE: Final = Page(
    "pos-consumer-aggregate",
    "pos-consumer: Aggregate",
    "From purchases to profiles: throughput, refusals, where the time goes.",
    (
        Row(
            "Throughput",
            (
                Panel(
                    "Records by outcome",
                    "The sum equals what was read: no record is lost or counted twice.",
                    (
                        Query(rate("records", "outcome"), "{{outcome}}"),
                        Query(
                            rate("filtered_events", "reason"), "filtered: {{reason}}"
                        ),
                        Query(rate("conflicts"), "duplicate: conflict"),
                    ),
                    "cps",
                    "stack",
                ),
                Panel(
                    "Taken from Kafka",
                    "Bytes of values. Compare with what Kafka says of the topic.",
                    (Query(rate("consumed_bytes", "stage"), "{{stage}}"),),
                    "Bps",
                ),
                Panel(
                    "Dead letters by reason",
                    "One reason rising is a producer that changed. Read some with the "
                    "same reason, mend, replay.",
                    (Query(rate("dead_letters", "reason"), "{{reason}}"),),
                    "cps",
                    "stack",
                    empty="there was none since the start",
                ),
            ),
        ),
        Row(
            'Rekeying, where purchases have `key = "other"`',
            (
                Panel(
                    "Rekeyed records",
                    "Written anew by visitor. What is refused here is among the "
                    "outcomes above.",
                    (Query(rate("rekeyed_records"), "records"),),
                    "cps",
                ),
                Panel(
                    "Rekeying: seconds a second by step",
                    "Mostly idle: it keeps up. Mostly work: let more replicas run "
                    "`--stage rekey`, up to one a partition of the source.",
                    (
                        Query(
                            "avg by (step) (rate("
                            f"{series('step_seconds', loop='rekey')}"
                            "[$__rate_interval]))",
                            "{{step}}",
                        ),
                    ),
                    "percentunit",
                    "stack",
                    most=1.0,
                ),
                Panel(
                    "Records not yet rekeyed",
                    "By partition of the source.",
                    (Query(owned("lag_records", "", stage="rekey"), "{{partition}}"),),
                    "short",
                    empty='`key` is "visitor", so there is no such stage',
                ),
            ),
        ),
        Row(
            "Where the time goes",
            (
                Panel(
                    "Seconds a second by step",
                    "The steps of the loop add up to one second a second and replica. "
                    "Mostly idle: it keeps up. Mostly commit: the brokers are slow. "
                    "Mostly store: the disk is. docs/metrics.md explains each step.",
                    (
                        Query(
                            "avg by (step) (rate("
                            f"{series('step_seconds', loop='aggregate')}"
                            "[$__rate_interval]))",
                            "{{step}}",
                        ),
                    ),
                    "percentunit",
                    "stack",
                    12,
                    9,
                    most=1.0,
                ),
                Panel(
                    "Busy",
                    "Share of each replica's loop that is not idle. Near 1 with lag: "
                    "add replicas, up to one a partition.",
                    (
                        Query(
                            "1 - rate("
                            f"{series('step_seconds', loop='aggregate', step='idle')}"
                            "[$__rate_interval])",
                            "{{instance}}",
                        ),
                    ),
                    "percentunit",
                    width=6,
                    height=9,
                    steps=(0.8, 0.95),
                    most=1.0,
                ),
                Panel(
                    "Batches",
                    "Records and visitors of a batch. Few visitors a record is what "
                    "makes folding cheap.",
                    (
                        Query(mean("batch_records"), "records, mean"),
                        Query(quantile(0.95, "batch_records"), "records, p95"),
                        Query(mean("batch_visitors"), "visitors, mean"),
                        Query(rate("batches", stage="aggregate"), "batches a second"),
                    ),
                    "short",
                    width=6,
                    height=9,
                ),
            ),
        ),
        Row(
            "Transactions",
            (
                Panel(
                    "Transactions",
                    "About one a `commit_interval` and replica. Failed ones are rolled "
                    "back and done again; nothing is lost.",
                    (
                        Query(rate("transactions", "result"), "{{result}}"),
                        Query(rate("profiles_written"), "profiles written"),
                        Query(rate("ticked_profiles", "why"), "by a day: {{why}}"),
                        Query(rate("erased_profiles", "step"), "on request: {{step}}"),
                    ),
                    "cps",
                ),
                Panel(
                    "Producers replaced, by cause",
                    "Now and then is a broker's restart. `producer_fenced` again and "
                    "again: two processes on copies of one state directory.",
                    (
                        Query(
                            "sum by (cause) (increase("
                            f"{series('producer_recycles')}[$__rate_interval]))",
                            "{{cause}}",
                        ),
                    ),
                    "short",
                    steps=(1, t.RECYCLES_BAD),
                ),
                Panel(
                    "From event to profile",
                    "The objective: 99 % within a minute.",
                    (
                        Query(quantile(0.5, "event_to_committed_seconds"), "p50"),
                        Query(quantile(0.95, "event_to_committed_seconds"), "p95"),
                        Query(quantile(0.99, "event_to_committed_seconds"), "p99"),
                    ),
                    "s",
                    steps=(t.FRESHNESS.seconds, t.LAG_SECONDS_BAD),
                ),
            ),
        ),
        Row(
            "Partitions",
            (
                Panel(
                    "Lag by partition, records",
                    "One partition alone: a hot key, or a halted partition. All: the "
                    "stage is too slow or stalled.",
                    (
                        Query(
                            owned("lag_records", "", stage="aggregate"),
                            "{{partition}}",
                        ),
                    ),
                    "short",
                ),
                Panel(
                    "Lag by partition, seconds",
                    "Age of the last record worked on where newer ones wait.",
                    (
                        Query(
                            owned("lag_seconds", "", stage="aggregate"),
                            "{{partition}}",
                        ),
                    ),
                    "s",
                    steps=(t.LAG_SECONDS_WARN, t.LAG_SECONDS_BAD),
                ),
                Panel(
                    "Owned and halted",
                    "Owned must equal the topic's partitions, halted must be 0. A "
                    "partition that nobody owns has no lag: look here.",
                    (
                        Query(
                            "sum by (stage) (max by (stage, partition) "
                            f"({series('partition_assigned')}))",
                            "{{stage}}: owned",
                        ),
                        Query(
                            f"max by (stage) ({series('partitions')})",
                            "{{stage}}: there are",
                        ),
                        Query(
                            "max by (stage, partition, reason) "
                            f"({series('partition_halted')})",
                            "halted: {{stage}} {{partition}} {{reason}}",
                        ),
                    ),
                    "short",
                    empty="no partition is halted",
                ),
                Panel(
                    "Restoring",
                    "Records still to read before partitions flow, and how fast. "
                    "Stuck: an open transaction in our topics, see Kafka and process.",
                    (
                        Query(
                            "sum(max by (partition) "
                            f"({series('restore_remaining_records')})) or vector(0)",
                            "left",
                        ),
                        Query(rate("restored_records"), "read a second"),
                        Query(
                            "sum(increase("
                            f"{series('restore_seconds')}[$__rate_interval]))",
                            "seconds waited",
                        ),
                    ),
                    "short",
                ),
                Panel(
                    "Changes of assignment",
                    "Some at a deploy. Without one: replicas that come and go, or "
                    "batches longer than `max.poll.interval.ms`.",
                    (
                        Query(
                            "sum by (stage, kind) (increase("
                            f"{series('rebalances')}[$__rate_interval]))",
                            "{{stage}}: {{kind}}",
                        ),
                    ),
                    "short",
                    steps=(t.REBALANCES_BAD / 2, t.REBALANCES_BAD),
                ),
                Panel(
                    "Local stores",
                    "Disk by replica. It grows with visitors and the `deduplicate` "
                    "horizon; give the volume twice of it.",
                    (Query(series("store_bytes"), "{{instance}}"),),
                    "bytes",
                ),
            ),
        ),
    ),
)
