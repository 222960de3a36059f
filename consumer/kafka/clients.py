# ruff: noqa: SLF001 - the names of librdkafka's own error codes begin with `_`
"""What all our Kafka clients share: options, logs, and errors in our own words.

Foreign errors become ours here and nowhere else, by librdkafka's own flags: fatal,
retriable, abort needed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, libversion
from confluent_kafka.admin import AdminClient

from consumer.config import Secret
from consumer.errors import (
    NOT_A_KEY,
    BrokerRefused,
    BrokerUnreachable,
    ConfigurationError,
    Fenced,
    PosConsumerError,
    ProducerFenced,
    TransactionFailed,
)
from consumer.kafka.client_log import client_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.config import KafkaSettings, Settings

TRY_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0

_ID_TAKEN: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }
)
_MEMBERSHIP_OVER: Final = frozenset(
    {
        KafkaError._ASSIGNMENT_LOST,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
_OWNERSHIP_LOST: Final = _MEMBERSHIP_OVER | {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.REBALANCE_IN_PROGRESS,
}
_REFUSED: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_COUNTED_IN: Final = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()
_UNREACHABLE: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        # A partition or a coordinator is moving, or was made a moment ago. The answers
        # of the admin client carry no retriable flag.
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)


def librdkafka_version() -> str:
    """Give the version of the client library in use."""
    return libversion()[0]


def kafka_error(error: KafkaError | KafkaException) -> KafkaError:
    """Return the error that an exception carries; an error is returned as it is."""
    return error.args[0] if isinstance(error, KafkaException) else error


def lacks_rights(error: KafkaError | KafkaException) -> bool:
    """Whether credentials or rights were refused: trying again does not help."""
    return kafka_error(error).code() in _REFUSED


def membership_over(error: KafkaError | KafkaException) -> bool:
    """Whether the group no longer counts this member in; not that it rebalances."""
    return kafka_error(error).code() in _MEMBERSHIP_OVER


def still_counted_in(error: KafkaError | None) -> bool:
    """Whether the group has not let go of a process of before, with our instance id.

    It does when that one's session ends; then a new client can join. librdkafka tells
    it by the text of a fatal error alone.
    """
    return (
        error is not None
        and error.code() == KafkaError._FATAL
        and _COUNTED_IN in error.str()
    )


def lost_by_silence(error: KafkaError) -> bool:
    """Whether the group went on without us, since we did not ask it for too long.

    It is said in the log, once a time: librdkafka joins again by itself, at the next
    call, and tells which partitions are lost.
    """
    silent = error.code() == KafkaError._MAX_POLL_EXCEEDED
    if silent:
        logging.getLogger(__name__).warning(
            "The group has gone on without this process, which did not poll for "
            "max.poll.interval.ms (brokers that did not answer, a frozen process): "
            "it joins again. librdkafka says: %s.",
            error.str(),
        )
    return silent


def passing(error: KafkaError | KafkaException, doing: str) -> PosConsumerError:
    """Translate an error of a question that is asked again until it is answered.

    While brokers restart they answer with codes of many kinds; only missing rights
    last.
    """
    ours = broker_error(error, doing)
    if isinstance(ours, BrokerRefused) and not lacks_rights(error):
        return BrokerUnreachable(ours.what, "It is tried again.")
    return ours


def broker_error(error: KafkaError | KafkaException, doing: str) -> PosConsumerError:
    """Translate an error met while `doing` something ("committing a transaction").

    | librdkafka says | ours | the caller's duty |
    |---|---|---|
    | another producer took our id over | `ProducerFenced` | recycle, replay |
    | another member took over | `Fenced` | abort, drop, rejoin |
    | abort needed, or fatal | `TransactionFailed` | abort, recycle, replay |
    | credentials or rights refused | `BrokerRefused` | stop, or pause and say so |
    | retriable, or no connection | `BrokerUnreachable` | try again |
    | anything else | `BrokerRefused` | stop, or pause and say so |
    """
    reason = kafka_error(error)
    code = reason.code()
    said = f"{_capitalised(doing)} failed: {reason.str()} ({reason.name()})."
    if code in _ID_TAKEN:
        return ProducerFenced(said, "Another process took this transactional id over.")
    if code in _OWNERSHIP_LOST:
        return Fenced(said, "Another process has taken over; rejoining.")
    if code in _REFUSED:
        return BrokerRefused(
            said, "Check the credentials in [kafka] and the rights of this principal."
        )
    if reason.txn_requires_abort() or reason.fatal():
        return TransactionFailed(said, "It is rolled back and done again.")
    if reason.retriable() or code in _UNREACHABLE:
        return BrokerUnreachable(said, "It is tried again.")
    return BrokerRefused(said)


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def client_options(
    settings: Settings,
    role: str,
    options: Mapping[str, str],
    on_error: Callable[[KafkaError], None] | None = None,
) -> dict[str, Any]:
    """Add to `options` what every client has: its name, its logs, its errors.

    `role` ends the client.id ("aggregate", "upload", "admin"), unless one is
    configured. Callbacks run inside the client's poll. `on_error` gets every error that
    is not the answer to a call, also those that librdkafka mends by itself.
    """
    log = client_logger()

    def report(error: KafkaError) -> None:
        if error.fatal():  # the others it logs by itself, and mends
            log.critical("%s: %s (%s)", role, error.str(), error.name())
        if on_error is not None:
            on_error(error)

    named = {"client.id": f"{settings.application}-{role}"}
    return {**named, **options, "logger": log, "error_cb": report}


def admin_client(
    settings: Settings, on_error: Callable[[KafkaError], None] | None = None
) -> AdminClient:
    """Make an admin client; ConfigurationError if librdkafka refuses an option."""
    options = client_options(settings, "admin", settings.kafka.for_admin(), on_error)
    try:
        return AdminClient(options)
    except KafkaException as error:
        raise option_refused(error) from error


def option_refused(error: KafkaException) -> ConfigurationError:
    """Translate librdkafka's refusal of an option, when a client is made."""
    said = kafka_error(error).str()
    _, quote, quoted = said.partition('"')
    name, closing, _ = quoted.partition('"')
    key = f'kafka."{name}"' if quote and closing and "." in name else "kafka"
    return ConfigurationError(key, NOT_A_KEY, f"librdkafka says: {said}")


def check_options(settings: KafkaSettings) -> None:
    """Let librdkafka check all options, without a connection; ConfigurationError.

    Secrets are not read: a configuration can be checked where they are not.
    """
    nowhere = {"bootstrap.servers": "", "group.id": "check"}
    for own in (settings.consumer, settings.producer):
        options = {
            name: "secret" if isinstance(value, Secret) else value
            for name, value in (settings.common | own).items()
            if not (isinstance(value, Secret) and name.endswith("pem"))
        }
        try:
            Consumer({**options, **nowhere, "logger": client_logger()}).close()
        except KafkaException as error:
            raise option_refused(error) from error


async def wait_for_broker(
    settings: Settings, clock: Clock, timeout_seconds: float | None = None
) -> None:
    """Return once a broker answers; BrokerUnreachable when it does not in time.

    Tries again until `timeout_seconds` (default `startup_timeout`) have passed. The
    error names the address and what librdkafka said last.
    """
    allowed = settings.startup_timeout if timeout_seconds is None else timeout_seconds
    log = logging.getLogger(__name__)
    heard: list[KafkaError] = []
    admin = admin_client(settings, heard.append)
    deadline = clock.monotonic() + allowed
    while True:
        left = max(0.1, deadline - clock.monotonic())
        try:
            await asyncio.to_thread(admin.list_topics, timeout=min(TRY_SECONDS, left))
        except KafkaException as error:
            await asyncio.to_thread(admin.poll, 0)  # fills `heard`
            reason = next(
                (
                    e
                    for e in reversed(heard)
                    if e.code() != KafkaError._ALL_BROKERS_DOWN
                ),
                kafka_error(error),
            )
            address = settings.kafka.bootstrap_servers
            if clock.monotonic() + RETRY_SECONDS >= deadline:
                raise BrokerUnreachable(
                    f"No Kafka broker at {address} answered within {allowed:g} s; "
                    f"librdkafka says: {reason.str()} ({reason.name()}).",
                    'Check kafka."bootstrap.servers", the network and the credentials.',
                ) from error
            log.warning(
                "No Kafka broker at %s yet: %s. It is tried for %.0f s more%s.",
                address,
                reason.str(),
                deadline - clock.monotonic(),
                " (startup_timeout)" if timeout_seconds is None else "",
            )
            await clock.sleep(RETRY_SECONDS)
        else:
            return
