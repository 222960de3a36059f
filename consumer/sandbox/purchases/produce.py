"""Sends generated purchases to Kafka: the only part of the generator that does I/O."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AdminClient,
    ConfigResource,
    NewTopic,
)

from consumer.errors import BrokerUnreachable, SandboxError, TopicAbsent
from consumer.sandbox.purchases.encode import values
from consumer.sandbox.purchases.generate import Encode, generate
from consumer.sandbox.purchases.spec import HOUR_MS, Kind, Spec

PRODUCER: Final[Mapping[str, str | int | bool]] = {
    "enable.idempotence": True,  # a retry must not reorder or repeat
    "partitioner": "murmur2_random",  # what Java clients use
    "linger.ms": 50,
    "batch.size": 1_000_000,
    "compression.type": "lz4",
    # Bounds the memory of records that wait for the broker.
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "delivery.report.only.error": True,
    "log_level": 3,  # a broker that has just started is no news
}
_SLICE: Final = 5_000  # records between two looks at the clock and at deliveries
_SLICES_A_SECOND: Final = 20
_TIMEOUT: Final = 10.0  # seconds for one answer of the broker
_FLUSH_TIMEOUT: Final = 120.0  # seconds

Part: TypeAlias = tuple[list[bytes], list[bytes | None], list[int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Produced:
    """What the topic holds now, by kind, and how long that took."""

    kinds: Mapping[Kind, int]
    seconds: float

    @property
    def events(self) -> int:
        """Return the number of records sent."""
        return sum(self.kinds.values())


def produce(  # noqa: PLR0913  # each is a choice of the caller
    spec: Spec,
    *,
    bootstrap_servers: str,
    topic: str,
    partitions: int = 8,
    rate: float = 0.0,
    kafka: Mapping[str, str | int | bool] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    encode: Encode = values,
) -> Produced:
    """Send the whole stream; return when the broker has acknowledged every record.

    The topic is created with `partitions` if it is absent. `rate` is in events per
    second, 0 is as fast as possible. `kafka` are further options of the client.
    `encode` writes the purchases, without it in the sandbox's own schema.
    `on_progress` is called with the number of records handed over so far.
    Raises `BrokerUnreachable`, `TopicAbsent` or `SandboxError`.
    """
    options = {"bootstrap.servers": bootstrap_servers, **(kafka or {})}
    prepare_topic(options, topic, partitions, spec.start_ms)
    failures: Counter[str] = Counter()

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures[error.str()] += 1

    producer = Producer({**PRODUCER, **options})
    kinds: Counter[Kind] = Counter()
    started = time.monotonic()
    sent = 0
    step = min(_SLICE, max(1, int(rate / _SLICES_A_SECOND))) if rate else _SLICE
    for part in _parts(spec, step, kinds, encode):
        if rate:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
        _send(producer, topic, part, delivered)
        sent += len(part[0])
        producer.poll(0)
        on_progress(sent)
        if failures:
            break
    left = producer.flush(_FLUSH_TIMEOUT)
    if failures or left:
        what, count = failures.most_common(1)[0] if failures else ("no answer", left)
        raise SandboxError(
            f"{count:,} purchases were not delivered to {topic}: {what}.",
            "See the broker's log.",
        )
    return Produced(dict(kinds), time.monotonic() - started)


def _parts(
    spec: Spec, step: int, kinds: Counter[Kind], encode: Encode
) -> Iterator[Part]:
    """Yield the stream in parts of `step` records, counting their kinds."""
    for batch in generate(spec, encode):
        kinds.update(batch.kinds)
        for at in range(0, len(batch), step):
            end = at + step
            yield batch.keys[at:end], batch.values[at:end], batch.timestamps_ms[at:end]


def _send(
    producer: Producer,
    topic: str,
    part: Part,
    delivered: Callable[[KafkaError | None, Message], None],
) -> None:
    """Hand records to the client, waiting where its queue is full."""
    send = producer.produce
    for key, value, timestamp in zip(*part, strict=True):
        while True:
            try:
                send(topic, value, key, timestamp=timestamp, on_delivery=delivered)
            except BufferError:
                producer.poll(0.1)
            else:
                break


def prepare_topic(
    options: Mapping[str, str | int | bool],
    topic: str,
    partitions: int,
    oldest_ms: int,
) -> None:
    """Create `topic` if it is absent, keeping records however old they are.

    A topic that is there must keep records as old as `oldest_ms` (epoch), else the
    broker would delete them minutes after they came. Replication is the broker's
    default. Raises `BrokerUnreachable`, `TopicAbsent` or `SandboxError`.
    """
    admin = AdminClient(dict(options))
    try:
        known = admin.list_topics(timeout=_TIMEOUT).topics
    except KafkaException as error:
        raise BrokerUnreachable(
            f"No broker answered at {options['bootstrap.servers']}.",
            "Start one with: pos-consumer sandbox kafka",
        ) from error
    if topic in known:
        _check_retention(admin, topic, oldest_ms)
        return
    wanted = NewTopic(
        topic,
        num_partitions=partitions,
        config={"retention.ms": "-1", "message.timestamp.type": "CreateTime"},
    )
    try:
        admin.create_topics([wanted])[topic].result(_TIMEOUT)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise TopicAbsent(
                f"Topic {topic} could not be created: {error.args[0].str()}.",
                "Create it yourself, or allow this client to.",
            ) from error


def _check_retention(admin: AdminClient, topic: str, oldest_ms: int) -> None:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    settings = admin.describe_configs([resource])[resource].result(_TIMEOUT)
    retention_ms = int(settings["retention.ms"].value)
    if 0 <= retention_ms < time.time() * 1000 - oldest_ms:
        raise SandboxError(
            f"Topic {topic} keeps records for {retention_ms / HOUR_MS:,.0f} hours, and "
            "these purchases begin earlier, so the broker would delete them.",
            "Let them begin later (--start), or set the topic's retention.ms to -1.",
        )
