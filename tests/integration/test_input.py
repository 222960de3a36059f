"""The consumer of purchases on a real broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from consumer.config import Settings
from consumer.kafka.input import InputConsumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory


def test_what_a_producers_transactions_leave_behind_is_no_lag(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """Markers and aborted records are never given: nobody could be less behind."""
    topic = topic_factory("purchases", partitions=1)
    settings = Settings.model_validate(
        {
            "application": topic,
            "kafka": {"bootstrap.servers": kafka.bootstrap},
            "purchases": {"topic": topic},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic}
    )
    producer.init_transactions(30)

    def send(count: int, *, committed: bool) -> None:
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, b"%d" % number, b"k")
        producer.flush(30)
        if committed:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    source = InputConsumer(settings)
    given: list[int] = []

    def until(reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20.0
        while not reached():
            assert time.monotonic() < deadline, (given, source.ends())
            found = source.consume(1_000, 0.2).records
            given.extend([] if found is None else found.offsets.tolist())
            if source.rebalance().assigned:
                source.start({0: 0})

    try:
        send(5, committed=True)  # 0 to 4, and a marker
        send(3, committed=False)  # 6 to 8, and another
        until(lambda: source.ends().get(0) in (0, 5))  # 0: the end came by itself
        assert given == [0, 1, 2, 3, 4]
        send(2, committed=True)  # 10 and 11, and a third
        until(lambda: len(given) == 7 and source.ends()[0] in (0, 12))
        assert given[5:] == [10, 11]
        send(4, committed=False)
        until(lambda: source.ends() == {0: 0})
        assert given[7:] == []
    finally:
        source.close()
