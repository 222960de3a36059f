"""librdkafka's statistics through a short allowlist: JSON in, a few figures out. Pure.

The whole document has hundreds of figures for each broker and partition; see
https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERVAL_MS: Final = "15000"
_MICROSECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Hidden:
    """Records of a partition that nobody may read yet.

    The transaction that begins at `stable`, the last stable offset, is open.
    """

    records: int
    stable: int


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """One client's figures: totals since it was made, and gauges of this moment.

    `hidden` has each assigned partition that the client has fetched from; while one is
    paused, its figures stand still.
    """

    received_bytes: int
    sent_bytes: int
    errors: int
    timeouts: int
    disconnects: int
    brokers_up: int
    round_trip_seconds: float
    queue_messages: int
    queue_bytes: int
    hidden: Mapping[int, Hidden]


def statistics_options(
    report: Callable[[ClientStatistics], None] | None,
) -> dict[str, Any]:
    """Return the options that make a client call `report` now and then, in its poll."""
    if report is None:
        return {}
    return {
        "statistics.interval.ms": INTERVAL_MS,
        "stats_cb": lambda text: report(parse(text)),
    }


def parse(text: str) -> ClientStatistics:
    """Take the allowed figures from librdkafka's document."""
    document = json.loads(text)
    brokers = [
        broker
        for broker in document.get("brokers", {}).values()
        if broker.get("nodeid", -1) >= 0
    ]
    places = [
        place
        for topic in document.get("topics", {}).values()
        for place in topic.get("partitions", {}).values()
        if place.get("partition", -1) >= 0
    ]
    return ClientStatistics(
        received_bytes=document.get("rx_bytes", 0),
        sent_bytes=document.get("tx_bytes", 0),
        errors=_sum(brokers, "txerrs") + _sum(brokers, "rxerrs"),
        timeouts=_sum(brokers, "req_timeouts"),
        disconnects=_sum(brokers, "disconnects"),
        brokers_up=sum(broker.get("state") == "UP" for broker in brokers),
        round_trip_seconds=max(
            (broker.get("rtt", {}).get("p99", 0) for broker in brokers), default=0
        )
        * _MICROSECONDS,
        queue_messages=document.get("msg_cnt", 0) + _sum(places, "fetchq_cnt"),
        queue_bytes=document.get("msg_size", 0) + _sum(places, "fetchq_size"),
        hidden={
            place["partition"]: Hidden(
                max(0, place["hi_offset"] - place["ls_offset"]), place["ls_offset"]
            )
            for place in places
            if place.get("desired", True)  # else it was ours once
            and place.get("hi_offset", -1) >= 0
            and place.get("ls_offset", -1) >= 0
        },
    )


def _sum(parts: list[dict[str, Any]], name: str) -> int:
    return sum(part.get(name, 0) for part in parts)
