"""The pump, as far as it goes without a broker."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from consumer.clock import ManualClock
from consumer.config import Settings
from consumer.errors import BrokerRefused, Fenced
from consumer.kafka.profiles_reader import ProfilesReader

SILENT = Message(error=KafkaError(KafkaError._MAX_POLL_EXCEEDED))
REFUSED = Message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


class _SlowBroker:
    """A consumer whose process sleeps in the middle of a commit."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def commit(self, **_: object) -> list[object]:
        self._clock.advance(self._seconds)
        return []


def reader_of(clock: ManualClock, broker: object) -> ProfilesReader:
    """Make a reader that owns partition 0, with a broker of the test."""
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap.servers": "localhost:1"},
            "purchases": {"topic": "purchases"},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    reader = ProfilesReader(settings, clock)
    reader._consumer.close()
    reader._consumer = broker  # type: ignore[assignment]
    reader._epochs[0] = 1
    return reader


@pytest.mark.parametrize(
    ("code", "over"),
    [
        (KafkaError.FENCED_INSTANCE_ID, True),
        (KafkaError.UNKNOWN_MEMBER_ID, True),
        (KafkaError.REBALANCE_IN_PROGRESS, False),
    ],
)
def test_a_member_that_was_replaced_is_not_taken_for_one(
    code: int, *, over: bool
) -> None:
    """The commit's answer is all that a static member gets to know of it."""

    def refuse(**_: object) -> list[object]:
        raise KafkaException(KafkaError(code))

    clock = ManualClock()
    reader = reader_of(clock, SimpleNamespace(commit=refuse))
    reader.committed_at = clock.monotonic()
    done: Future[None] = Future()

    reader._commit({0: 7}, done)

    assert isinstance(done.exception(), Fenced)
    assert (reader.committed_at == float("-inf")) is over


async def test_a_commit_confirms_the_membership_of_when_it_was_asked() -> None:
    """A zombie that wakes up with an old answer is not taken for a member."""
    clock = ManualClock()
    reader = reader_of(clock, _SlowBroker(clock, 60.0))
    done: Future[None] = Future()

    reader._commit({0: 7}, done)

    assert done.done()
    assert clock.monotonic() - reader.committed_at >= 60.0


def test_a_commit_that_nobody_waits_for_any_more_does_not_end_the_pump(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asked may be cancelled while the broker is spoken to."""
    reader = object.__new__(ProfilesReader)
    done: Future[None] = Future()
    asked = []

    def commit(offsets: dict[int, int]) -> None:
        asked.append(offsets)
        done.cancel()

    monkeypatch.setattr(reader, "_commit_now", commit)
    reader._commit({0: 7}, done)
    assert asked == [{0: 7}]
    assert done.done()


def test_a_reader_that_was_silent_for_too_long_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As after a freeze: librdkafka joins again by itself. It is said in the log."""
    reader = object.__new__(ProfilesReader)
    reader._hand_over([SILENT])
    assert "did not poll" in caplog.text
    with pytest.raises(BrokerRefused):
        reader._hand_over([REFUSED])
