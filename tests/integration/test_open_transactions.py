"""Transactions that stay open, on a real broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from consumer.config import Settings
from consumer.kafka.open_transactions import OpenTransactions

if TYPE_CHECKING:
    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory


def test_a_transaction_that_stands_still_is_found_and_one_that_ends_is_not(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """With its partition, where it begins and since when; the others stay quiet."""
    topic = topic_factory("profiles", partitions=2)
    settings = Settings.model_validate(
        {
            "application": topic,
            "kafka": {"bootstrap.servers": kafka.bootstrap},
            "purchases": {"topic": "unused"},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{topic}-other"}
    )
    producer.init_transactions(30)
    for committed in (True, False):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, b"of someone else", b"k", 1)
        producer.flush(30)
        if committed:
            producer.commit_transaction(30)
    watch = OpenTransactions(settings, looks=2)
    places = [(topic, 0), (topic, 1)]

    assert watch.look(places) == []
    (found,) = watch.look(places)

    # Three records, the marker of their end, then the open transaction's three.
    assert (found.topic, found.partition) == (topic, 1)
    assert (found.first_offset, found.held_back) == (4, 3)
    assert abs(found.since - time.time()) < 60.0
    assert f"--topic {topic} --partition 1 --start-offset 4" in found.remedy(settings)
    producer.abort_transaction(30)
    deadline = time.monotonic() + 10.0
    while watch.look(places) and time.monotonic() < deadline:  # its marker is under way
        time.sleep(0.1)
    assert watch.look(places) == []
