"""Where a partition begins: `start` counts once, then the state's own position."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import configure
from consumer.sandbox.purchases.generate import generate
from consumer.sandbox.purchases.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

PATIENCE = 40.0


def send(bootstrap: str, topic: str, seed: int, count: int, partition: int) -> None:
    """Produce sound purchases to one partition."""
    spec = Spec(
        events=count, visitors=50, seed=seed, poison=0, tombstones=0, duplicates=0
    )
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 3})
    for batch in generate(spec):
        for key, value, timestamp, _ in batch.rows():
            producer.produce(topic, value, key, partition, timestamp=timestamp)
    assert producer.flush(10) == 0
    producer.close()


def wait_for(service: ServiceProcess, name: str, least: float, **labels: str) -> float:
    """Wait until a metric has reached a value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        service.require_running()
        if (found := service.metrics().total(name, **labels)) >= least:
            return found
        time.sleep(0.1)
    message = f"{name} did not reach {least}"
    raise AssertionError(message)


@pytest.mark.timeout(120)
def test_latest_counts_at_the_very_first_start_only(
    kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path
) -> None:
    """A partition that was quiet so far goes on where it began, not at its end.

    Purchases that came while the service was down are read, those from before its
    first start are not, also in a partition that had no traffic in between.
    """
    topic = topic_factory("purchases", partitions=2, config={"retention.ms": "-1"})
    work = configure(
        tmp_path,
        bootstrap=kafka.bootstrap,
        endpoint="http://127.0.0.1:9",
        application=topic,
        topic=topic,
    )
    text = work.config.read_text(encoding="utf-8")
    latest = text.replace("[purchases]\n", '[purchases]\nstart = "latest"\n')
    work.config.write_text(latest, encoding="utf-8")
    run_command(work.config, "topics", "create")
    send(kafka.bootstrap, topic, seed=1, count=300, partition=0)
    send(kafka.bootstrap, topic, seed=2, count=300, partition=1)
    with ServiceProcess(work, "--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_ready", 1)
        wait_for(service, "pos_consumer_transactions_total", 1, result="committed")
        assert service.metrics().total("pos_consumer_records_total") == 0
        assert service.drain(40) == 0
        send(kafka.bootstrap, topic, seed=3, count=200, partition=1)
        service.start()
        wait_for(service, "pos_consumer_records_total", 200)
        time.sleep(1.5)
        assert service.metrics().total("pos_consumer_records_total") == 200
        assert service.drain(40) == 0
