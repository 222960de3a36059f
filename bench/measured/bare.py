"""A bare consumer of `profiles`, read_committed: what a restore is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, TopicPartition

from bench.job import PARTITIONS
from bench.measured.floor import options
from bench.meter import Meter

if TYPE_CHECKING:
    from bench.job import Run

WAIT_SECONDS: Final = 0.2
AT_ONCE: Final = 50_000


def main(run: Run) -> None:
    """Read the topic to its end."""
    settings = run.settings()
    meter = Meter()
    ends = {"enable.partition.eof": "true"}
    consumer = Consumer({**options(settings, run.application), **ends})
    profiles = settings.topics.profiles
    consumer.assign([TopicPartition(profiles, n, 0) for n in range(PARTITIONS)])
    done, left = 0, PARTITIONS
    meter.begin()
    while left:
        found = consumer.consume(AT_ONCE, WAIT_SECONDS)
        ended = sum(1 for one in found if one.error() is not None)
        done, left = done + len(found) - ended, left - ended
        meter.at(done)
    consumer.close()
    meter.measured().report()
