"""librdkafka's errors and logs become ours, by its own flags."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.clock import ManualClock, SystemClock
from consumer.config import KafkaSettings, Settings
from consumer.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigurationError,
    Fenced,
    PosConsumerError,
    ProducerFenced,
    TransactionFailed,
)
from consumer.kafka.client_log import ClientLogFilter
from consumer.kafka.clients import (
    broker_error,
    check_options,
    client_options,
    wait_for_broker,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def settings(kafka: Mapping[str, object]) -> Settings:
    """Return settings with these options."""
    return Settings.model_validate(
        {
            "kafka": kafka,
            "purchases": {"topic": "purchases"},
            "target": {"client": "acme"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (KafkaError(KafkaError._FENCED, fatal=True), ProducerFenced),
        (
            KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, fatal=True),
            ProducerFenced,
        ),
        (KafkaError(KafkaError.UNKNOWN_MEMBER_ID, txn_requires_abort=True), Fenced),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, txn_requires_abort=True), Fenced),
        (KafkaError(KafkaError._STATE, fatal=True), TransactionFailed),
        (KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True), TransactionFailed),
        (KafkaError(KafkaError._TIMED_OUT, retriable=True), BrokerUnreachable),
        (KafkaError(KafkaError._TRANSPORT), BrokerUnreachable),
        (KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, fatal=True), BrokerRefused),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), BrokerRefused),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), BrokerRefused),
    ],
)
def test_errors_are_translated_by_librdkafkas_flags(
    error: KafkaError, ours: type[PosConsumerError]
) -> None:
    """Fenced, abort, retry and refused are told apart, as error and as exception."""
    for raised in (error, KafkaException(error)):
        translated = broker_error(raised, "committing a transaction")
        assert type(translated) is ours
        assert str(translated).startswith("Committing a transaction failed: ")
        assert error.name() in str(translated)


def test_every_client_has_a_name_and_a_logger() -> None:
    """A broker's administrator sees who connects; a configured name stays."""
    options = client_options(settings({}), "upload", {"a": "b"})
    assert options["client.id"] == "pos-consumer-upload"
    assert options["a"] == "b"
    assert options["logger"].name == "librdkafka"
    named = settings({"client.id": "mine"})
    options = client_options(named, "upload", named.kafka.for_consumer())
    assert options["client.id"] == "mine"


def test_librdkafka_checks_its_options_without_a_broker() -> None:
    """An option that does not exist, or a wrong value, is a configuration error."""
    check_options(KafkaSettings.model_validate({"fetch.min.bytes": 5}))
    with pytest.raises(ConfigurationError, match=r'kafka\."bootstrap\.serverz"'):
        check_options(KafkaSettings.model_validate({"bootstrap.serverz": "x"}))
    with pytest.raises(ConfigurationError, match=r"fetch\.min\.bytes"):
        check_options(KafkaSettings.model_validate({"fetch.min.bytes": "many"}))
    wrong = {"producer": {"compression.codec": "zip"}}
    with pytest.raises(ConfigurationError, match=r"compression\.codec"):
        check_options(KafkaSettings.model_validate(wrong))


def test_checking_options_needs_no_secret_file() -> None:
    """A configuration can be checked where its secrets are not."""
    absent = {"file": "/nowhere/secret"}
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": absent,
    }
    check_options(KafkaSettings.model_validate(options))


async def test_an_unreachable_broker_is_named_with_the_last_reason() -> None:
    """After the timeout one sentence has address, reason and remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses connections
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable) as caught:
            await wait_for_broker(
                settings({"bootstrap.servers": address}), SystemClock(), 0.5
            )
    said = str(caught.value)
    assert address in said
    assert "within 0.5 s" in said
    assert "Connection refused" in said
    assert 'kafka."bootstrap.servers"' in said


async def test_the_broker_is_tried_again_until_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that comes late is waited for."""
    tries: list[float] = []
    clock = ManualClock()

    class LateBroker:
        """Answers the third time."""

        def list_topics(self, timeout: float) -> None:
            tries.append(timeout)
            clock.advance(timeout)
            if len(tries) < 3:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))

        def poll(self, timeout: float) -> None:
            """Serve no callbacks."""

    monkeypatch.setattr("consumer.kafka.clients.admin_client", lambda *_: LateBroker())
    waiting = wait_for_broker(settings({}), _Impatient(clock), 60)
    await waiting
    assert tries == [5.0, 5.0, 5.0]


class _Impatient:
    """A manual clock whose sleepers move it by themselves."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.now = clock.now
        self.monotonic = clock.monotonic

    async def sleep(self, seconds: float) -> None:
        """Move the clock instead of waiting."""
        self._clock.advance(seconds)


def record(
    sentence: str, created: float, level: int = logging.ERROR
) -> logging.LogRecord:
    """Make a log record of a given time."""
    made = logging.LogRecord("librdkafka", level, "", 0, sentence, (), None)
    made.created = created
    return made


def test_a_line_that_repeats_passes_once_in_half_a_minute() -> None:
    """A broker that is away does not fill the log; numbers make no difference."""
    quiet = ClientLogFilter()
    passed = [
        quiet.filter(record(f"refused (after {t}ms)", created=t))
        for t in (0, 1, 29, 31, 32)
    ]
    assert passed == [True, False, False, True, False]
    assert quiet.filter(record("something else", created=33))


def test_what_librdkafka_mends_is_a_warning() -> None:
    """Nobody is woken for a lost connection; what is fatal stays loud."""
    quiet = ClientLogFilter()
    lost = record("lost", 0)
    fatal = record("fatal", 0, logging.CRITICAL)
    assert quiet.filter(lost)
    assert quiet.filter(fatal)
    assert (lost.levelname, fatal.levelname) == ("WARNING", "CRITICAL")


def test_the_memory_for_repeats_is_bounded() -> None:
    """Endless different lines do not grow the filter."""
    quiet = ClientLogFilter()
    for number in range(1_000):
        quiet.filter(record("x" * number, created=0))
    assert len(quiet._passed) <= 200
