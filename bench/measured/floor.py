"""The floor: consume, with the service's librdkafka settings, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, TopicPartition

from bench.job import PARTITIONS
from bench.meter import Meter
from consumer.kafka.input import OURS, read_ahead

if TYPE_CHECKING:
    from bench.job import Run
    from consumer.config import Settings

WAIT_SECONDS: Final = 1.0


def main(run: Run) -> None:
    """Consume the topic once, a whole batch a call, as any consumer would."""
    settings = run.settings()
    meter = Meter()
    consumer = Consumer(options(settings, run.application))
    consumer.assign([TopicPartition(run.topic, n, 0) for n in range(PARTITIONS)])
    done = 0
    meter.begin()
    while done < run.records:
        found = consumer.consume(settings.aggregate.max_batch, WAIT_SECONDS)
        done += len(found)
        meter.at(done)
    consumer.close()
    meter.measured().report()


def options(settings: Settings, group: str) -> dict[str, str]:
    """Give the service's own consumer options, without its group."""
    return {
        **read_ahead(settings),
        **settings.kafka.for_consumer(),
        **OURS,
        "group.id": group,
    }
