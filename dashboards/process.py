"""Kafka's clients and the process: whether the surroundings are at fault."""

from __future__ import annotations

from typing import Final

from dashboards import thresholds as t
from dashboards.panels import Page, Panel, Query, Row, owned, rate, select, series

PROCESS: Final = Page(
    "pos-consumer-process",
    "pos-consumer: Kafka and process",
    "Kafka's clients, CPU, memory and loops: are the surroundings at fault?",
    (
        Row(
            "Kafka",
            (
                Panel(
                    "Bytes from and to brokers",
                    "By client. Nothing from `purchases` with lag: the broker or the "
                    "network.",
                    (
                        Query(
                            rate("kafka_received_bytes", "client"),
                            "{{client}}: received",
                        ),
                        Query(rate("kafka_sent_bytes", "client"), "{{client}}: sent"),
                    ),
                    "Bps",
                ),
                Panel(
                    "Round trip, p99",
                    "The slowest broker of each client. A consumer's fetch waits for "
                    "data up to `fetch.wait.max.ms`, so half a second is idle.",
                    (
                        Query(
                            f"max by (client) ({series('kafka_round_trip_seconds')})",
                            "{{client}}",
                        ),
                    ),
                    "s",
                ),
                Panel(
                    "Failures",
                    "Requests that failed or were not answered, connections that "
                    "ended. librdkafka mends them by itself; many mean a sick broker.",
                    (
                        Query(rate("kafka_errors", "client"), "{{client}}: errors"),
                        Query(rate("kafka_timeouts", "client"), "{{client}}: timeouts"),
                        Query(
                            rate("kafka_disconnects", "client"),
                            "{{client}}: disconnects",
                        ),
                    ),
                    "cps",
                ),
                Panel(
                    "Brokers connected",
                    "By client and replica; 0 is a broker or network outage.",
                    (Query(series("kafka_brokers_up"), "{{instance}} {{client}}"),),
                    "short",
                    width=6,
                    steps=(2, 1),
                ),
                Panel(
                    "Queues in librdkafka",
                    "Prefetched records of consumers, unsent ones of the producer.",
                    (
                        Query(
                            f"sum by (client) ({series('kafka_queue_bytes')})",
                            "{{client}}: bytes",
                        ),
                        Query(
                            f"sum by (client) ({series('kafka_queue_messages')})",
                            "{{client}}: records",
                        ),
                    ),
                    "short",
                    width=6,
                ),
                Panel(
                    "Behind open transactions",
                    "Records that exist and may not be read yet. Some are normal where "
                    "producers use transactions, our own do.",
                    (Query(owned("unstable_records", ""), "{{stage}} {{partition}}"),),
                    "short",
                    width=6,
                ),
                Panel(
                    "Age of open transactions",
                    "For how long the same one has kept records from being read. "
                    "Minutes: it hangs; see the runbook, "
                    "PosConsumerTransactionHanging.",
                    (Query(owned("unstable_seconds", ""), "{{stage}} {{partition}}"),),
                    "s",
                    width=6,
                    steps=(t.UNSTABLE_SECONDS / 2, t.UNSTABLE_SECONDS),
                ),
            ),
        ),
        Row(
            "Process",
            (
                Panel(
                    "CPU",
                    "Cores by replica. One core is the fold, the rest is librdkafka "
                    "and the upload.",
                    (
                        Query(
                            "rate("
                            f"{select('process_cpu_seconds_total')}[$__rate_interval])",
                            "{{instance}}",
                        ),
                    ),
                    "short",
                ),
                Panel(
                    "Memory",
                    "Resident memory by replica. Bounded by `[aggregate] memory`, the "
                    "prefetch and the rows under way.",
                    (Query(select("process_resident_memory_bytes"), "{{instance}}"),),
                    "bytes",
                ),
                Panel(
                    "Open files",
                    "Share of the limit. Stores are a few files a partition.",
                    (
                        Query(
                            f"{select('process_open_fds')} / "
                            f"{select('process_max_fds')}",
                            "{{instance}}",
                        ),
                    ),
                    "percentunit",
                    steps=(t.OPEN_FILES_SHARE / 2, t.OPEN_FILES_SHARE),
                ),
                Panel(
                    "Since the loops moved",
                    "Beyond 120 s /livez fails and all stacks are logged.",
                    (
                        Query(
                            f"time() - {series('loop_heartbeat_timestamp_seconds')}",
                            "{{instance}} {{loop}}",
                        ),
                    ),
                    "s",
                    steps=(t.HEARTBEAT_WARN, t.HEARTBEAT_BAD),
                ),
                Panel(
                    "Warnings and errors logged",
                    "Repeats that were held back count as well.",
                    (Query(f"60 * {rate('log_lines', 'level')}", "{{level}}"),),
                    "opm",
                    "stack",
                ),
                Panel(
                    "Up, ready, degraded",
                    "Whole numbers of replicas.",
                    (
                        Query(f"sum({series('ready')})", "ready"),
                        Query(f"sum({series('degraded')})", "degraded"),
                        Query(f"sum({select('up')})", "up"),
                    ),
                    "short",
                ),
                Panel(
                    "Records and batches by stage",
                    "For investigation: what each stage takes from Kafka.",
                    (
                        Query(rate("consumed_records", "stage"), "{{stage}}: records"),
                        Query(rate("batches", "stage"), "{{stage}}: batches"),
                    ),
                    "cps",
                ),
                Panel(
                    "Versions",
                    "What runs where, and since when. Several versions for longer than "
                    "a deploy: a replica was left behind.",
                    (
                        Query(
                            "1000 * max by (instance) "
                            f"({select('process_start_time_seconds')})\n"
                            "* on (instance) group_right\n"
                            "max by (instance, version, python, librdkafka) "
                            f"({series('build')})",
                        ),
                    ),
                    "dateTimeFromNow",
                    "table",
                    16,
                    columns={
                        "instance": "instance",
                        "version": "version",
                        "Value": "started",
                        "python": "Python",
                        "librdkafka": "librdkafka",
                    },
                ),
            ),
        ),
    ),
)
