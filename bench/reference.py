"""The reference topics: in an embedded Kafka whose data is kept between runs.

They are loaded once for each variant and number of events; their recount is kept
beside them. Everything else that is in the broker belongs to a run and goes with it.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AdminClient,
    NewTopic,
)

import bench
from bench.generate import VARIANTS, generate
from bench.job import PARTITIONS, SCHEMA
from bench.recount import recount
from consumer.errors import SandboxError
from consumer.sandbox.jars import cache_folder, only_one
from consumer.sandbox.kafka import EmbeddedKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.generate import Part, Variant

SECONDS: Final = 30.0
FLUSH_SECONDS: Final = 120.0
SLICE: Final = 10_000  # records between two looks at deliveries
PRODUCER: Final = {
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "linger.ms": 50,
    "batch.size": 1_000_000,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 500_000,
    "delivery.report.only.error": True,
    "log_level": 0,
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A loaded reference topic: its name, its records, and its recount's file."""

    name: str
    records: int
    recount: Path

    def expected(self) -> pl.DataFrame:
        """Read the recount."""
        return pl.read_parquet(self.recount)


class Reference:
    """The broker with the reference topics, and room for runs."""

    def __init__(self, kafka: EmbeddedKafka, folder: Path) -> None:
        """Use a broker that runs; `folder` is the bench's cache."""
        self._folder = folder
        self._admin = AdminClient(
            {"bootstrap.servers": kafka.bootstrap, "log_level": 0}
        )
        self._numbers = itertools.count(1)
        self._names = f"run-{int(time.time())}"
        self.bootstrap = kafka.bootstrap

    def topic(self, variant: str, events: int, say: Callable[[str], None]) -> Topic:
        """Give a reference topic, loaded first if it is not there."""
        name = f"bench-{variant}-{events}-{_version()}"
        kept = self._folder / "recounts" / f"{name}.parquet"
        there = name in self._admin.list_topics(timeout=SECONDS).topics
        # The recount is written last: without it the topic may be half loaded.
        if not (there and kept.exists()):
            say(f"Loading {events:,} events, {variant} (once).")
            began = time.monotonic()
            self._load(VARIANTS[variant], name, events, kept)
            say(f"Loaded in {time.monotonic() - began:.1f} s.")
        return Topic(name, events, kept)

    def application(self) -> str:
        """Give a name that no run has had, for an application or a group."""
        return f"{self._names}-{next(self._numbers)}"

    def forget(self, application: str = "") -> None:
        """Delete the topics of one run, or all that are not reference topics."""
        known = self._admin.list_topics(timeout=SECONDS).topics
        leaving = [
            name
            for name in known
            if application in name and not name.startswith(("bench-", "__"))
        ]
        self._delete(leaving)

    def create(self, topic: str, **config: str) -> None:
        """Create a topic with the job's partitions."""
        new = NewTopic(topic, num_partitions=PARTITIONS, config=config)
        self._admin.create_topics([new])[topic].result(SECONDS)
        self._wait(topic, there=True)

    def _load(self, variant: Variant, name: str, events: int, kept: Path) -> None:
        if name in self._admin.list_topics(timeout=SECONDS).topics:
            self._delete([name])
        self.create(name, **{"retention.ms": "-1"})
        sound = []
        producer = Producer({"bootstrap.servers": self.bootstrap, **PRODUCER})
        failed: list[str] = []
        for part in generate(variant, events):
            sound.append(part.sound)
            _send(producer, name, part, failed)
        if producer.flush(FLUSH_SECONDS) or failed:
            raise SandboxError(
                f"The topic {name} could not be loaded: {failed or 'no answer'}."
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".part")
        recount(sound).write_parquet(partial)
        partial.rename(kept)

    def _delete(self, names: list[str]) -> None:
        if not names:
            return
        for name, future in self._admin.delete_topics(names).items():
            try:
                future.result(SECONDS)
            except KafkaException as error:
                raise SandboxError(f"{name} could not be deleted: {error}.") from error
            self._wait(name, there=False)

    def _wait(self, name: str, *, there: bool) -> None:
        deadline = time.monotonic() + SECONDS
        while (name in self._admin.list_topics(timeout=SECONDS).topics) != there:
            if time.monotonic() > deadline:
                raise SandboxError(f"The broker does not settle topic {name}.")
            time.sleep(0.05)


def _send(producer: Producer, topic: str, part: Part, failed: list[str]) -> None:
    send = producer.produce
    records = zip(part.keys, part.values, part.timestamps_ms, strict=True)
    for number, (key, value, timestamp) in enumerate(records):
        while True:
            try:
                send(
                    topic,
                    value,
                    key,
                    timestamp=timestamp,
                    on_delivery=lambda error, _: failed.append(str(error)),
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break
        if number % SLICE == 0:
            producer.poll(0)


def _version() -> str:
    """Name what the topics are made by: a changed generator means other topics."""
    made_by = (Path(bench.__file__).parent / "generate.py").read_bytes()
    return hashlib.sha256(made_by + SCHEMA.encode()).hexdigest()[:8]


@contextmanager
def opened(console_waiting: str = "Another bench is running.") -> Iterator[Reference]:
    """Start the broker on the kept topics; one bench at a time."""
    folder = cache_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one("bench", waiting=console_waiting), ExitStack() as stack:
        data = folder / "kafka"
        try:
            kafka = stack.enter_context(EmbeddedKafka(data=data))
        except SandboxError:  # of another release, or torn: they can be loaded anew
            shutil.rmtree(data, ignore_errors=True)
            shutil.rmtree(folder / "recounts", ignore_errors=True)
            kafka = stack.enter_context(EmbeddedKafka(data=data))
        reference = Reference(kafka, folder)
        reference.forget()
        yield reference


@contextmanager
def working_folder() -> Iterator[Path]:
    """Give a folder for one run's configuration and state, on the disk of the cache."""
    base = cache_folder() / "bench" / "runs"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
