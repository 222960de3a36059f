"""The consumer of purchases, as far as it goes without a broker."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from consumer.config import Settings
from consumer.errors import BrokerRefused
from consumer.kafka import input as source
from consumer.kafka.input import JOIN_SECONDS, Batch, InputConsumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    consumer: InputConsumer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As after an outage: librdkafka joins again by itself. It is said in the log."""
    monkeypatch.setattr(consumer, "_polled", Polled([[SILENT], [REFUSED]]))
    assert consumer.consume(1, 0.0) == Batch(None)
    assert "did not poll" in caplog.text
    with pytest.raises(BrokerRefused):
        consumer.consume(1, 0.0)


def test_a_batch_is_gathered_in_pieces(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is full, or the time is over; a piece that is not full ends no batch."""
    monkeypatch.setattr(source, "AT_ONCE", 2)
    made = [record(number) for number in range(6)]
    client = Polled([made[:2], made[2:3], made[3:5], made[5:]])
    monkeypatch.setattr(consumer, "_polled", client)
    first, second = consumer.consume(5, 60.0), consumer.consume(5, 0.0)
    assert first.records is not None
    assert second.records is not None
    assert first.records.offsets.tolist() == [0, 1, 2, 3, 4]
    assert second.records.offsets.tolist() == [5]
    assert list(first.records.values) == [b"v0", b"v1", b"v2", b"v3", b"v4"]
    assert list(first.records.keys) == [b"k0", b"k1", b"k2", b"k3", b"k4"]
    assert [first.records.headers(row) for row in range(5)] == [
        [("n", str(number).encode())] if number % 2 else [] for number in range(5)
    ]
    assert client.asked == [2, 2, 2, 2]


def test_what_is_there_is_taken_whole_even_without_time(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While partitions are restored nobody waits for records, but all are taken."""
    monkeypatch.setattr(source, "AT_ONCE", 2)
    made = [record(number) for number in range(5)]
    client = Polled([made[:2], made[2:4], made[4:]])
    monkeypatch.setattr(consumer, "_polled", client)
    batch = consumer.consume(100, 0.0)
    assert batch.records is not None
    assert batch.records.offsets.tolist() == [0, 1, 2, 3, 4]


def test_an_absent_value_stays_absent_among_the_others(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tombstone is no empty record, whatever lies in the pieces beside it."""
    monkeypatch.setattr(source, "AT_ONCE", 1)
    tombstone = Message("t", 0, 1, key=b"k", value=None, timestamp=(1, 7))
    client = Polled([[record(0)], [tombstone]])
    monkeypatch.setattr(consumer, "_polled", client)
    batch = consumer.consume(2, 0.0)
    assert batch.records is not None
    assert list(batch.records.values) == [b"v0", None]


def test_the_end_of_a_partition_counts_the_records_of_earlier_pieces(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the last record are markers of transactions, which are no lag."""
    monkeypatch.setattr(source, "AT_ONCE", 1)
    end = Message("t", 0, 9, error=KafkaError(KafkaError._PARTITION_EOF))
    monkeypatch.setattr(consumer, "_polled", Polled([[record(4)], [end]]))
    consumer._started[0] = 0
    consumer.consume(2, 0.0)
    assert consumer._read_out == {0: (9, 5)}


def test_what_is_said_of_a_partition_that_left_since_is_not_ours(
    consumer: InputConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would halt here what somebody else has, and keep an old end."""
    monkeypatch.setattr(source, "AT_ONCE", 1)
    said = (
        KafkaError(KafkaError._PARTITION_EOF),
        KafkaError(KafkaError._AUTO_OFFSET_RESET),
    )
    ends, gone = (Message("t", 0, 9, error=error) for error in said)
    client = Polled([[ends], [gone], [record(4)]])
    member = cast("Any", SimpleNamespace(incremental_unassign=lambda _: None))
    client.during = lambda: consumer._lost(member, [TopicPartition("t", 0)])
    monkeypatch.setattr(consumer, "_polled", client)
    consumer._started[0] = 0
    assert consumer.consume(3, 0.0).out_of_range == {}
    assert consumer._read_out == {}
    assert consumer.rebalance().lost == [0]


def record(number: int) -> Message:
    """Make a record of partition 0; every other one has a header."""
    text = str(number).encode()
    return Message(
        "t",
        0,
        number,
        key=b"k" + text,
        value=b"v" + text,
        headers=[("n", text)] if number % 2 else None,
        timestamp=(1, 7),
    )


class Polled:
    """Gives a piece a call, and notes what was asked; `during` is in the last call."""

    def __init__(self, pieces: list[list[Message]]) -> None:
        """Have the pieces to give."""
        self._left = list(pieces)
        self.asked: list[int] = []
        self.during: Callable[[], None] = lambda: None

    def __call__(self, most: int, _: float) -> list[Message]:
        """Give the next piece."""
        self.asked.append(most)
        if len(self._left) == 1:
            self.during()
        return self._left.pop(0)
