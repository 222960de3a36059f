"""A topic keyed by till, with pseudonyms: rekeyed and folded, killed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # documented there

from consumer.sandbox.demo.reconcile import profile_rows
from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.demo.work import recount_topic
from consumer.sandbox.purchases import Spec, generate
from consumer.sandbox.target import TargetOptions, TargetSandbox
from tests.integration.quick import quick_work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from confluent_kafka import Message
    from confluent_kafka.admin import AdminClient

    from consumer.sandbox.demo.work import Work
    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

SPEC: Final = Spec(events=12_000, visitors=900, seed=3, poison=0.02)
FOREVER: Final = {"retention.ms": "-1"}
APPLICATION: Final = "rekeying"
KEY: Final = "fedcba9876543210" * 2
SECONDS_TO_ARRIVE: Final = 90
TILLS: Final = 40
HEADERS: Final = {"n", "pos-consumer-source"}
MORE: Final = """
[rekeyed]
partitions = 5
"""


@pytest.mark.timeout(240)
async def test_a_topic_keyed_by_till_gives_each_visitor_every_purchase_once(
    kafka: EmbeddedKafka,
    admin: AdminClient,
    topic_factory: TopicFactory,
    tmp_path: Path,
) -> None:
    """Killed with a batch in hand, and with a source that grows, nothing is missing."""
    source = topic_factory("tills", partitions=3, config=FOREVER)
    rows = [row[:3] for batch in generate(SPEC) for row in batch.rows()]
    half = len(rows) // 2
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        work = _work(tmp_path, kafka, target, source)
        await asyncio.to_thread(_produce, kafka, source, rows[:half])
        await asyncio.to_thread(run_command, work.config, "topics", "create")
        await asyncio.to_thread(_die, work, monkey="after-rekey-produce:1")
        await asyncio.to_thread(_die, work, monkey="after-send-offsets:2")
        grown = admin.create_partitions([NewPartitions(source, 4)])
        grown[source].result(timeout=10)
        with (
            ServiceProcess(work) as service,
            Topics(kafka.bootstrap, APPLICATION) as topics,
        ):
            await asyncio.to_thread(_produce, kafka, source, rows[half:])
            await _arrived(service, kafka, source, topics)
            letters = await asyncio.to_thread(topics.dead_letters)
            assert await asyncio.to_thread(service.drain, 40.0) == 0
        await asyncio.to_thread(_check_records, kafka, source, rows)
        rekeyed = await asyncio.to_thread(
            recount_topic, kafka.bootstrap, f"{APPLICATION}.rekeyed"
        )
        whole = await asyncio.to_thread(recount_topic, kafka.bootstrap, source)
        held = dict(target.profiles())
    # The recount knows ids, Target nothing but pseudonyms.
    named = {_pseudonym(visitor): visitor for visitor in rekeyed.profiles}
    known = {named[one]: row for one, row in held.items() if one in named}
    _, wrong = profile_rows(rekeyed, known)
    assert not wrong
    # Under a pseudonym no id is too strange for Target.
    strange = rekeyed.dead_letters["invalid_visitor"]
    assert 0 < len(held.keys() - named.keys()) <= strange
    expected = {k: v for k, v in whole.dead_letters.items() if k != "invalid_visitor"}
    assert dict(letters) == expected
    assert not target.journal.violations
    # Nor does anything else that outlives a batch.
    profiles = {one.key() for one in _read(kafka, f"{APPLICATION}.profiles")}
    assert {one.encode() for one in named} <= profiles
    assert not profiles & {visitor.encode() for visitor in whole.profiles}
    said = work.log.read_text(encoding="utf-8")
    assert not [one for one in whole.profiles if len(one) > 8 and one in said]


def _work(
    folder: Path, kafka: EmbeddedKafka, target: TargetSandbox, source: str
) -> Work:
    key = folder / "visitor-key"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    work = quick_work(
        folder, kafka, target, application=APPLICATION, topic=source, more=MORE
    )
    text = work.config.read_text(encoding="utf-8")
    way = f'key = "other"\npseudonym_key = {{ file = "{key}" }}\n[purchases.fields]'
    assert "[purchases.fields]" in text
    work.config.write_text(text.replace("[purchases.fields]", way), encoding="utf-8")
    return work


def _produce(
    kafka: EmbeddedKafka, topic: str, rows: list[tuple[bytes, bytes | None, int]]
) -> None:
    """Send purchases as tills do: keyed by themselves."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 2})
    for number, (_, value, timestamp) in enumerate(rows):
        till = f"till-{number % TILLS}".encode()
        producer.produce(topic, value, till, timestamp=timestamp, headers={"n": "1"})
        producer.poll(0)
    assert producer.flush(30) == 0


def _die(work: Work, monkey: str) -> None:
    """Run the service until a failpoint kills it."""
    with work.log.open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "consumer", "--config", str(work.config), "run"],
            env={**os.environ, "POS_CONSUMER_FAILPOINT": monkey},
            stdout=log,
            stderr=log,
            timeout=90,
            check=False,
        )
    assert done.returncode == -9, work.log.read_text(encoding="utf-8")[-2_000:]


async def _arrived(
    service: ServiceProcess, kafka: EmbeddedKafka, source: str, topics: Topics
) -> None:
    for _ in range(SECONDS_TO_ARRIVE):
        await asyncio.sleep(1.0)
        service.require_running()
        scrape = await asyncio.to_thread(service.metrics)
        ready = scrape.total("pos_consumer_ready") == 1
        busy = scrape.total("pos_consumer_in_flight_batches")
        folded = all(
            await asyncio.gather(
                asyncio.to_thread(_committed, kafka, "rekey", source),
                asyncio.to_thread(
                    _committed, kafka, "aggregate", f"{APPLICATION}.rekeyed"
                ),
            )
        )
        if ready and not busy and folded and await asyncio.to_thread(topics.uploaded):
            return
    pytest.fail("not arrived in time")


def _committed(kafka: EmbeddedKafka, stage: str, topic: str) -> bool:
    """Tell whether a stage has committed all of its input; markers lie behind it."""
    reader = _bystander(kafka, f"{APPLICATION}-{stage}")
    try:
        numbers = reader.list_topics(topic, 10).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        return all(
            reader.get_watermark_offsets(one, timeout=10)[1] - max(0, one.offset) <= 1
            for one in reader.committed(places, timeout=10)
        )
    finally:
        reader.close()


def _check_records(
    kafka: EmbeddedKafka, source: str, rows: list[tuple[bytes, bytes | None, int]]
) -> None:
    """Each record with a visitor lies there once, under its pseudonym, as it was."""
    found = list(_read(kafka, f"{APPLICATION}.rekeyed"))
    origins = Counter(
        dict(one.headers() or []).get("pos-consumer-source") for one in found
    )
    assert len(origins) == len(found)
    assert all(set(dict(one.headers() or [])) == HEADERS for one in found)
    homes: dict[bytes, set[int]] = {}
    for one in found:
        homes.setdefault(one.key() or b"", set()).add(one.partition() or 0)
    assert all(len(partitions) == 1 for partitions in homes.values())
    assert {n for places in homes.values() for n in places} == set(range(5))
    written = Counter((one.value(), one.timestamp()[1]) for one in found)
    produced = Counter((value, timestamp) for _, value, timestamp in rows)
    assert written <= produced
    # What did not go on was filtered, or is a dead letter of this stage.
    left = produced - written
    letters = Counter(
        one.value() for one in _read(kafka, f"{APPLICATION}.dead-letters")
    )
    for (value, _), count in left.items():
        assert value is None or letters[value] >= count


def _read(kafka: EmbeddedKafka, topic: str) -> Iterator[Message]:
    reader = _bystander(kafka, "reads")
    try:
        left = set(reader.list_topics(topic, 10).topics[topic].partitions)
        reader.assign([TopicPartition(topic, number, 0) for number in left])
        while left:
            for one in reader.consume(5_000, 0.5):
                if one.error() is None:
                    yield one
                else:
                    left.discard(one.partition() or 0)
    finally:
        reader.close()


def _bystander(kafka: EmbeddedKafka, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )


def _pseudonym(visitor: str) -> str:
    return hmac.new(KEY.encode(), visitor.encode(), hashlib.sha256).hexdigest()
