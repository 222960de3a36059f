"""The first look: is it keeping up, is anything lost, who is at fault, what to do."""

from __future__ import annotations

from typing import Final

from dashboards import thresholds as t
from dashboards.panels import (
    Page,
    Panel,
    Query,
    Row,
    alerts,
    owned,
    quantile,
    rate,
    ratio,
    series,
)

BUDGET_USED: Final = f"60 * {rate('calls')} / max({series('budget_calls_per_minute')})"

OVERVIEW: Final = Page(
    "pos-consumer-overview",
    "pos-consumer: Overview",
    "Is it healthy, and who is at fault if not? Start here.",
    (
        Row(
            "Now",
            (
                Panel(
                    "State",
                    "Replicas that are not ready. Any above 0 for longer than a start: "
                    "ask the replica's /readyz, it says what it waits for.",
                    (Query(f"count({series('ready')} == 0) or vector(0)"),),
                    "none",
                    "stat",
                    3,
                    4,
                    (1, 1),
                    "pos-consumer-process",
                    names={"0": "ready"},
                ),
                Panel(
                    "Halted partitions",
                    "Paused until a person has acted; the others go on. See the "
                    "runbook: PosConsumerPartitionHalted.",
                    (
                        Query(
                            "count(max by (stage, partition) "
                            f"({series('partition_halted')} == 1)) or vector(0)"
                        ),
                    ),
                    "none",
                    "stat",
                    3,
                    4,
                    (1, 1),
                    "pos-consumer-aggregate",
                    names={"0": "none"},
                ),
                Panel(
                    "Behind in Kafka",
                    "Age of the last purchase worked on where newer ones wait. Rising: "
                    "see which step takes the time on Aggregate; add replicas up to "
                    "the number of partitions.",
                    (
                        Query(
                            f"max({series('lag_seconds', stage='aggregate')}) "
                            "or vector(0)"
                        ),
                    ),
                    "s",
                    "stat",
                    3,
                    4,
                    (t.LAG_SECONDS_WARN, t.LAG_SECONDS_BAD),
                    "pos-consumer-aggregate",
                    decimals=0,
                ),
                Panel(
                    "Behind at Target",
                    "Age of the oldest event that Target has not accepted yet. Some "
                    "`max_age` is normal. Rising: look at the answers and the budget "
                    "on Upload.",
                    (
                        Query(
                            f"max({series('lag_seconds', stage='upload')}) or vector(0)"
                        ),
                    ),
                    "s",
                    "stat",
                    3,
                    4,
                    (t.UPLOAD_LAG_SECONDS_WARN, t.UPLOAD_LAG_SECONDS_BAD),
                    "pos-consumer-upload",
                    decimals=0,
                ),
                Panel(
                    "To the profile, p99",
                    "From a purchase's record in Kafka to its profile's commit. A "
                    "backlog that is being worked off counts, too.",
                    (Query(quantile(0.99, "event_to_committed_seconds")),),
                    "s",
                    "stat",
                    3,
                    4,
                    (t.FRESHNESS.seconds, t.LAG_SECONDS_BAD),
                    "pos-consumer-aggregate",
                ),
                Panel(
                    "To Target, p99",
                    "From a purchase's record to the confirmed end of its batch. Adobe "
                    "takes minutes; beyond an hour the objective is missed.",
                    (Query(quantile(0.99, "event_to_confirmed_seconds")),),
                    "s",
                    "stat",
                    3,
                    4,
                    (t.DELIVERY.seconds, 2 * t.DELIVERY.seconds),
                    "pos-consumer-upload",
                ),
                Panel(
                    "Dead letters",
                    "Share of records that could not be events. They are kept with "
                    "their reason: mend the producer or the mapping, then replay them.",
                    (
                        Query(
                            ratio(
                                rate("records", outcome="dead_lettered"),
                                rate("records"),
                            )
                        ),
                    ),
                    "percentunit",
                    "stat",
                    3,
                    4,
                    (t.DEAD_LETTERS_WARN, t.DEAD_LETTERS_BAD),
                    "pos-consumer-aggregate",
                    decimals=2,
                ),
                Panel(
                    "Call budget used",
                    "Calls of all replicas against the account's budget. Full for "
                    "long: larger files (`max_age`), or a larger allowance.",
                    (Query(BUDGET_USED),),
                    "percentunit",
                    "stat",
                    3,
                    4,
                    (t.BUDGET_WARN, t.BUDGET_FULL),
                    "pos-consumer-upload",
                    decimals=0,
                ),
            ),
        ),
        Row(
            "The way of the data",
            (
                Panel(
                    "Purchases by what became of them",
                    "Every record ends as exactly one of these. Flat at zero with lag: "
                    "the stage is stalled, see the runbook: PosConsumerStalled.",
                    (Query(rate("records", "outcome"), "{{outcome}}"),),
                    "cps",
                    "stack",
                ),
                Panel(
                    "Rows at Target",
                    "Rows by Target's answer, and rows confirmed later. Accepted "
                    "without confirmed: Target is slow, or `confirm` is off.",
                    (
                        Query(rate("upload_rows", "outcome"), "{{outcome}}"),
                        Query(rate("confirmed_rows"), "confirmed"),
                    ),
                    "cps",
                    link="pos-consumer-upload",
                ),
                Panel(
                    "Latency from the event",
                    "Median and p99 of three ways from the same start. The distance "
                    "between the lines is where the time goes.",
                    (
                        Query(
                            quantile(0.5, "event_to_committed_seconds"), "profile p50"
                        ),
                        Query(
                            quantile(0.99, "event_to_committed_seconds"), "profile p99"
                        ),
                        Query(
                            quantile(0.99, "event_to_accepted_seconds"), "accepted p99"
                        ),
                        Query(
                            quantile(0.5, "event_to_confirmed_seconds"), "confirmed p50"
                        ),
                        Query(
                            quantile(0.99, "event_to_confirmed_seconds"),
                            "confirmed p99",
                        ),
                    ),
                    "s",
                    steps=(t.FRESHNESS.seconds, t.DELIVERY.seconds),
                ),
            ),
        ),
        Row(
            "What is in the way",
            (
                Panel(
                    "Lag in records",
                    "Purchases not worked on, and profiles that Target has not "
                    "accepted. A saw-tooth of the upload is files being filled.",
                    (Query(owned("lag_records", "stage"), "{{stage}}"),),
                    "short",
                    link="pos-consumer-aggregate",
                ),
                Panel(
                    "Errors",
                    "Whatever is not as it should be, an event a second. Each has its "
                    "panel on Aggregate, Upload or Kafka and process.",
                    (
                        Query(rate("records", outcome="dead_lettered"), "dead letters"),
                        Query(rate("retries", "cause"), "retries: {{cause}}"),
                        Query(rate("rejected_rows"), "rejected rows"),
                        Query(rate("failed_updates"), "failed at Target"),
                        Query(
                            rate("transactions", result="failed"), "failed transactions"
                        ),
                        Query(rate("log_lines", level="error"), "errors logged"),
                    ),
                    "cps",
                    link="pos-consumer-upload",
                ),
                Panel(
                    "Calls a minute",
                    "All replicas together, by kind, against the budget.",
                    (
                        Query(f"60 * {rate('calls', 'kind')}", "{{kind}}"),
                        Query(f"max({series('budget_calls_per_minute')})", "budget"),
                    ),
                    "short",
                    link="pos-consumer-upload",
                ),
            ),
        ),
        Row(
            "What to do",
            (
                Panel(
                    "Firing alerts",
                    "Each has a section of its name in the runbook: what it means, "
                    "what to look at, what to do, what not to do.",
                    (Query(alerts("firing")),),
                    "none",
                    "table",
                    24,
                    6,
                    columns={
                        "alertname": "alert",
                        "severity": "severity",
                        "job": "job",
                        "instance": "instance",
                        "stage": "stage",
                        "partition": "partition",
                        "reason": "reason",
                        "cause": "cause",
                        "end": "end",
                        "loop": "loop",
                    },
                    empty="no alert fires",
                ),
            ),
        ),
    ),
)
