"""What a run left behind, in the recount's columns: the service's profiles topic.

The record is read by the service's own record format, since it is the service's; what
the fields hold is compared with the recount, which shares nothing with the fold.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import polars as pl
from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AdminClient,
    OffsetSpec,
)

from bench.job import PARTITIONS
from bench.recount import difference
from consumer.errors import SandboxError
from consumer.loading import load_plan
from consumer.profiles.directory import StateDirectory
from consumer.profiles.fold import packed_hashes
from consumer.profiles.record import ProfileCodec, ProfileSchema

if TYPE_CHECKING:
    from bench.job import Run

WAIT_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 30.0
AT_ONCE: Final = 50_000


def latest(bootstrap: str, topic: str) -> dict[bytes, bytes]:
    """Read a topic whole, read_committed: the last value of each key.

    It is read to the end that a read_uncommitted reader sees: the markers of the last
    transactions may still be on their way.
    """
    upto = ends(bootstrap, topic)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-check",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.min.messages": 1_000_000,
            "fetch.queue.backoff.ms": 5,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in upto])
    found: dict[bytes, bytes] = {}
    left, moved = {number for number, end in upto.items() if end}, time.monotonic()
    while left:
        for one in consumer.consume(AT_ONCE, WAIT_SECONDS):
            moved = time.monotonic()
            if one.error() is not None:
                if (one.offset() or 0) >= upto[one.partition() or 0]:
                    left.discard(one.partition() or 0)
                continue
            key, value = one.key(), one.value()
            if key is not None and value is not None:
                found[key] = value
        if time.monotonic() - moved > PATIENCE_SECONDS:
            raise SandboxError(f"The topic {topic} cannot be read to its end.")
    consumer.close()
    return found


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """Give the end of each partition, open transactions included."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    numbers = admin.list_topics(topic, PATIENCE_SECONDS).topics[topic].partitions
    newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no types
    asked = admin.list_offsets(
        {TopicPartition(topic, number): newest for number in numbers},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
    )
    return {
        place.partition: answer.result(PATIENCE_SECONDS).offset
        for place, answer in asked.items()
    }


def profiles(run: Run) -> pl.DataFrame:
    """Read the profiles that a run of the service left, in the recount's columns."""
    settings = run.settings()
    plan, _ = load_plan(settings)
    codec = ProfileCodec(ProfileSchema.of(plan))
    records = list(latest(run.bootstrap, settings.topics.profiles).values())
    states = pl.DataFrame(codec.decode(records))

    def part(name: str, inner: str) -> pl.Expr:
        return pl.col(name).struct.field(inner)

    unit = pl.format("{}:{}", part("", "key"), part("", "weight"))
    units = pl.col("units_by_category").list.eval(unit).list.sort().list.join(",")
    skus = pl.col("latest_skus").list.eval(part("", "value")).list.join(",")
    return states.select(
        visitor="visitor",
        orders=part("orders", "total"),
        returns=part("returns", "total"),
        revenue=part("revenue", "total"),
        last_purchase=part("last_purchase", "time") // 1_000,
        last_store=part("last_store", "value"),
        largest_order="largest_order",
        units=units,
        skus=skus,
    )


def require_stored(run: Run, known: dict[bytes, bytes]) -> None:
    """Raise `SandboxError` where the stores do not hold the topic's last records."""
    settings = run.settings()
    keys = packed_hashes(known)
    held: dict[bytes, bytes] = {}
    with StateDirectory(settings.aggregate.state_dir, run.application) as directory:
        for number in range(PARTITIONS):
            with directory.open(number) as store:
                values = zip(keys, store.get_many(keys), strict=True)
                held.update((key, value) for key, value in values if value is not None)
    if held != dict(zip(keys, known.values(), strict=True)):
        raise SandboxError(
            f"The restored stores hold {len(held):,} of {len(known):,} profiles, or "
            "not their last ones."
        )


def require_recount(found: pl.DataFrame, expected: pl.DataFrame, what: str) -> None:
    """Raise `SandboxError` where profiles are not those of the recount."""
    if differs := difference(found, expected):
        raise SandboxError(f"{what} is wrong: {differs}.")
