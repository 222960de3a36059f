"""A few figures are taken from librdkafka's hundreds."""

from __future__ import annotations

import json

from consumer.kafka.statistics import (
    ClientStatistics,
    Hidden,
    parse,
    statistics_options,
)

DOCUMENT = {
    "rx_bytes": 700,
    "tx_bytes": 300,
    "msg_cnt": 0,
    "msg_size": 0,
    "brokers": {
        "b:1/1": {
            "nodeid": 1,
            "state": "UP",
            "txerrs": 1,
            "rxerrs": 2,
            "req_timeouts": 3,
            "disconnects": 4,
            "rtt": {"p99": 2_500},
        },
        "b:2/2": {"nodeid": 2, "state": "DOWN", "disconnects": 1, "rtt": {"p99": 9}},
        "bootstrap": {"nodeid": -1, "state": "UP", "disconnects": 50},
    },
    "topics": {
        "profiles": {
            "partitions": {
                "0": {
                    "partition": 0,
                    "fetchq_cnt": 10,
                    "fetchq_size": 1_000,
                    "hi_offset": 120,
                    "ls_offset": 100,
                },
                "1": {"partition": 1, "fetchq_cnt": 1, "hi_offset": 7, "ls_offset": 7},
                "2": {"partition": 2, "hi_offset": -1_001, "ls_offset": -1_001},
                "3": {
                    "partition": 3,
                    "desired": False,
                    "hi_offset": 9,
                    "ls_offset": 2,
                },
                "-1": {"partition": -1, "fetchq_cnt": 99},
            }
        }
    },
}


def test_the_allowed_figures_are_taken() -> None:
    """Sums over real brokers and partitions, the slowest round trip, open transactions.

    What is not a broker (the bootstrap address) or not a partition (-1) is left out,
    and a partition that was never fetched has no offsets to compare; one that has left
    keeps its last ones, which say nothing any more.
    """
    found = parse(json.dumps(DOCUMENT))
    assert (found.received_bytes, found.sent_bytes) == (700, 300)
    assert (found.errors, found.timeouts, found.disconnects) == (3, 3, 5)
    assert found.brokers_up == 1
    assert found.round_trip_seconds == 0.0025
    assert (found.queue_messages, found.queue_bytes) == (11, 1_000)
    assert found.hidden == {0: Hidden(20, 100), 1: Hidden(0, 7)}


def test_a_client_without_a_connection_has_figures_too() -> None:
    """Right after its start a client knows no broker and no topic."""
    found = parse("{}")
    assert found.brokers_up == 0
    assert found.round_trip_seconds == 0
    assert found.hidden == {}


def test_nothing_is_asked_for_that_nobody_hears() -> None:
    """Without a listener the client keeps no statistics."""
    assert statistics_options(None) == {}
    heard: list[ClientStatistics] = []
    options = statistics_options(heard.append)
    options["stats_cb"](json.dumps(DOCUMENT))
    assert heard[0].brokers_up == 1
