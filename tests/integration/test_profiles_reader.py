"""The pump on a real broker: order, backpressure, commits and rebalances."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from consumer.clock import SystemClock
from consumer.config import Settings
from consumer.errors import Fenced
from consumer.kafka import profiles_reader
from consumer.kafka.profiles_batches import Assigned, ProfileBatch, Revoked
from consumer.kafka.profiles_ranges import ProfilesRanges
from consumer.kafka.profiles_reader import ProfilesReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

COUNT = 2_000


@pytest.fixture
def settings(kafka: EmbeddedKafka, topic_factory: TopicFactory) -> Settings:
    """Settings whose `profiles` holds numbered records in two partitions."""
    topic = topic_factory("profiles", partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(COUNT):
        value = None if number % 10 == 9 else b"%d" % number
        producer.produce(topic, key=b"k", value=value, partition=number % 2)
    producer.flush(10)
    return Settings.model_validate(
        {
            "application": topic,
            "kafka": {"bootstrap.servers": kafka.bootstrap},
            "purchases": {"topic": "unused"},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
            "profiles": {"topic": topic},
        }
    )


async def take(
    reader: ProfilesReader, done: Callable[[dict[int, int]], bool]
) -> tuple[list[ProfileBatch], dict[int, int]]:
    """Take batches until the offsets reached will do."""
    batches, reached = [], dict[int, int]()
    async with asyncio.timeout(20):
        while not done(reached):
            batches.append(await reader.batch())
            reached[batches[-1].partition] = batches[-1].next_offset
    return batches, reached


def all_read(reached: dict[int, int]) -> bool:
    """Whether both partitions were read to their end."""
    return reached == {0: COUNT // 2, 1: COUNT // 2}


async def begun(reader: ProfilesReader) -> dict[int, int]:
    """Let what is assigned flow; returns the epochs."""
    async with asyncio.timeout(20):
        change = await reader.change()
    assert isinstance(change, Assigned)
    reader.begin(change.epochs)
    return dict(change.epochs)


async def test_every_record_comes_once_and_in_order_under_backpressure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny queue pauses and resumes the partitions; nothing is lost or doubled."""
    monkeypatch.setattr(profiles_reader, "QUEUE_BYTES", 5_000)
    monkeypatch.setattr(profiles_reader, "MOST_RECORDS", 50)
    async with ProfilesReader(settings, SystemClock()) as reader:
        await begun(reader)
        await asyncio.sleep(1.0)
        assert reader._queued < 20_000
        batches, _ = await take(reader, all_read)
    values = [int(v) for b in batches if b.partition == 1 for v in b.values]
    assert values == [n for n in range(1, COUNT, 2) if n % 10 != 9]
    assert sum(batch.records for batch in batches) == COUNT


async def test_the_next_reader_starts_at_the_committed_offsets(
    settings: Settings,
) -> None:
    """Commits hold across readers; a partition without one starts at its beginning."""
    async with ProfilesReader(settings, SystemClock()) as reader:
        await begun(reader)
        await take(reader, all_read)
        await reader.commit({0: 600})
        assert reader.committed_at > 0
        with pytest.raises(Fenced):
            await asyncio.wait_for(_after_close(reader), 10)
    async with ProfilesReader(settings, SystemClock()) as reader:
        await begun(reader)
        batches, _ = await take(reader, all_read)
    firsts = {b.partition: b.offsets[0] for b in reversed(batches) if len(b.offsets)}
    assert firsts == {0: 600, 1: 0}


async def test_the_session_is_the_groups_where_the_broker_keeps_it(
    settings: Settings, kafka: EmbeddedKafka
) -> None:
    """By KIP-848 no option of ours says when others take over: it is asked for."""
    settings.kafka.consumer["group.protocol"] = "consumer"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    entry = ConfigEntry(
        "consumer.session.timeout.ms",
        "50000",
        incremental_operation=AlterConfigOpType.SET,
    )
    group = ConfigResource(
        ResourceType.GROUP, settings.upload_group, incremental_configs=[entry]
    )
    await asyncio.to_thread(admin.incremental_alter_configs([group])[group].result, 10)
    async with ProfilesReader(settings, SystemClock()) as reader:
        assert reader.session_seconds == 50.0


async def _after_close(reader: ProfilesReader) -> None:
    await reader.__aexit__(None, None, None)
    await reader.commit({0: 700})


async def test_a_partition_that_leaves_is_committed_and_its_records_dropped(
    settings: Settings,
) -> None:
    """The leaving owner's last word counts, and the new one begins there."""
    async with ProfilesReader(settings, SystemClock()) as first:
        epochs = await begun(first)
        await take(first, all_read)
        async with ProfilesReader(settings, SystemClock()) as second:
            async with asyncio.timeout(20):
                change = await first.change()
                assert isinstance(change, Revoked)
                (moved,) = change.partitions
                assert first.epoch(moved) == epochs[moved]
                change.leave({moved: 123})
            await begun(second)
            batches, _ = await take(
                second, lambda reached: reached.get(moved) == COUNT // 2
            )
            assert {batch.partition for batch in batches} == {moved}
            assert next(b.offsets[0] for b in batches if len(b.offsets)) == 123
            assert first.epoch(moved) is None


@pytest.mark.parametrize("committed", [None, 600])
async def test_a_reader_whose_partitions_are_all_halted_is_still_confirmed(
    settings: Settings, committed: int | None
) -> None:
    """Its offsets are committed as they stand: batches can be followed meanwhile."""
    if committed is not None:
        async with ProfilesReader(settings, SystemClock()) as before:
            await begun(before)
            await take(before, all_read)
            await before.commit({0: committed, 1: committed})
    async with ProfilesReader(settings, SystemClock()) as reader:
        epochs = await begun(reader)
        for partition in (0, 1):
            reader.halt(partition, epochs[partition])
        earlier = reader.committed_at
        await reader.commit({})
        assert reader.committed_at > earlier
    async with ProfilesReader(settings, SystemClock()) as reader:
        await begun(reader)
        batches, _ = await take(reader, all_read)
    firsts = {b.partition: b.offsets[0] for b in reversed(batches) if len(b.offsets)}
    assert firsts == {0: committed or 0, 1: committed or 0}


async def test_what_is_meant_for_an_earlier_assignment_does_nothing(
    settings: Settings,
) -> None:
    """A partition may be back before its former assignment was dealt with.

    If it flowed at once, the loss that is still to be dealt with would take its rows.
    """
    async with ProfilesReader(settings, SystemClock()) as reader:
        async with asyncio.timeout(20):
            change = await reader.change()
        assert isinstance(change, Assigned)
        reader.begin({0: change.epochs[0] - 1, 1: change.epochs[1]})
        reader.halt(1, change.epochs[1] - 1)
        _, reached = await take(reader, lambda reached: reached.get(1) == COUNT // 2)
        assert reached.keys() == {1}
        reader.begin({0: change.epochs[0]})
        await take(reader, lambda reached: reached.get(0) == COUNT // 2)


async def test_ranges_are_read_again_and_nothing_beside_them(
    settings: Settings,
) -> None:
    """Offsets within the ranges come back in order, without tombstones."""
    ranges = ((3, 5), (100, 100), (990, 2_000))

    def read() -> list[int]:
        found = ProfilesRanges(settings).read(0, ranges)
        return [int(offset) for batch in found for offset in batch.offsets]

    offsets = await asyncio.to_thread(read)
    assert offsets == [3, 4, 5, 100, *range(990, COUNT // 2)]
