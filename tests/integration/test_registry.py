"""A service whose schemas come from a registry, and a registry that is away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from consumer.events.codecs import Codec
from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import configure
from tests.contract.registry import RegistryServer

if TYPE_CHECKING:
    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8")
PATIENCE = 90.0


def send(bootstrap: str, topic: str, schema_id: int, partition: int = 0) -> None:
    """Produce one record that names a schema id."""
    record = Codec(SCHEMA).sample()[3]
    value = b"\0" + schema_id.to_bytes(4, "big") + record[5:]
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 3})
    producer.produce(topic, value, b"key", partition)
    assert producer.flush(10) == 0
    producer.close()


def wait_for(service: ServiceProcess, name: str, least: float, **labels: str) -> None:
    """Wait until a metric has reached a value."""
    deadline = time.monotonic() + PATIENCE
    while service.metrics().total(name, **labels) < least:
        service.require_running()
        assert time.monotonic() < deadline, f"{name} did not reach {least}"
        time.sleep(0.1)


@pytest.mark.timeout(180)
def test_an_outage_of_the_registry_is_waited_out(
    kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path
) -> None:
    """Neither an outage nor a refusal makes a dead letter; an id without schema does.

    A partition that needs no answer goes on meanwhile; a schema that is registered
    after its first record is waited for; a restart without the registry works by what
    was kept.
    """
    topic = topic_factory("purchases", partitions=2)
    with RegistryServer() as registry:
        registry.register(f"{topic}-value", 1, SCHEMA)
        work = configure(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint="http://127.0.0.1:9",
            application=topic,
            topic=topic,
        )
        text = work.config.read_text(encoding="utf-8")
        folder = 'schemas = "schemas"'
        assert folder in text
        address = (
            f'schema_registry = "{registry.address}"\nkey_expression = "\'key\'"\n'
            'schema_grace = "4s"'
        )
        work.config.write_text(text.replace(folder, address), encoding="utf-8")
        run_command(work.config, "check")
        run_command(work.config, "topics", "create")
        with ServiceProcess(work, "--stage", "aggregate") as service:
            wait_for(service, "pos_consumer_ready", 1)
            send(kafka.bootstrap, topic, 1)
            wait_for(service, "pos_consumer_records_total", 1)
            for status in (503, 401):
                registry.fails = status, b""
                asked = len(registry.asked)
                send(kafka.bootstrap, topic, status)
                while len(registry.asked) < asked + 3:
                    service.require_running()
                    time.sleep(0.1)
                known = service.metrics().total("pos_consumer_records_total") + 1
                send(kafka.bootstrap, topic, 1, partition=1)
                wait_for(service, "pos_consumer_records_total", known)
                wait_for(service, "pos_consumer_degraded", 1)
                registry.register(f"{topic}-value", status, SCHEMA)
                registry.fails = None
                wait_for(service, "pos_consumer_records_total", known + 1)
            known = service.metrics().total("pos_consumer_records_total")
            send(kafka.bootstrap, topic, 77)
            wait_for(service, "pos_consumer_degraded", 1)
            registry.register(f"{topic}-value", 77, SCHEMA)
            wait_for(service, "pos_consumer_records_total", known + 1)
            found = service.metrics()
            assert found.total("pos_consumer_dead_letters_total") == 0
            assert found.total("pos_consumer_producer_recycles_total") == 0
            send(kafka.bootstrap, topic, 99)
            wait_for(
                service, "pos_consumer_dead_letters_total", 1, reason="unknown_schema"
            )
            assert service.drain(PATIENCE) == 0
        kept = list((work.folder / "state").glob("schemas-*/*.avsc"))
        assert {path.stem for path in kept} == {"1", "503", "401", "77"}
    with ServiceProcess(work, "--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_ready", 1)
        send(kafka.bootstrap, topic, 503)
        wait_for(service, "pos_consumer_records_total", 1)
        assert service.metrics().total("pos_consumer_dead_letters_total") == 0
        assert service.drain(PATIENCE) == 0
