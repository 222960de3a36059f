"""The consumer of purchases, as far as it goes without a broker."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from consumer.config import Settings
from consumer.errors import BrokerRefused
from consumer.kafka import input as source
from consumer.kafka.input import JOIN_SECONDS, Batch, InputConsumer

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENT = Message(error=KafkaError(KafkaError._MAX_POLL_EXCEEDED))
REFUSED = Message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


@pytest.fixture
def consumer() -> Iterator[InputConsumer]:
    """A member of a group that no broker has."""
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap.servers": "localhost:1", "log_level": 0},
            "purchases": {"topic": "purchases"},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    found = InputConsumer(settings)
    yield found
    found.close()


def test_a_member_has_joined_once_it_was_told_what_it_gets(
    consumer: InputConsumer,
) -> None:
    """Be it nothing; before that, what a killed process had may still be its."""
    assert not consumer.joined
    client = SimpleNamespace(incremental_assign=lambda _: None)
    consumer._assigned(cast("Any", client), [])
    assert consumer.joined


def test_a_member_that_nobody_tells_has_joined_in_time(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By KIP-848 a member for which there are no partitions hears nothing."""
    later = time.monotonic() + JOIN_SECONDS + 1.0
    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=lambda: later))
    assert consumer.joined


def test_a_member_that_was_silent_for_too_long_goes_on(
    consumer: InputConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an outage: librdkafka joins again by itself. It is said in the log."""
    assert consumer._columns([SILENT]) == Batch(None)
    assert "did not poll" in caplog.text
    with pytest.raises(BrokerRefused):
        consumer._columns([REFUSED])
