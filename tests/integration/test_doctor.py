"""`doctor` on a real broker and the sandbox: each line is fine, or what to do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from consumer.clock import ManualClock, SystemClock
from consumer.config import Settings
from consumer.kafka.topics import TopicAdmin
from consumer.loading import schemas_of
from consumer.sandbox.target import TargetOptions, TargetSandbox
from consumer.sandbox.target.admin import CLIENT_ID, CLIENT_SECRET
from consumer.stages import doctor
from consumer.stages.doctor import budget, examine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from consumer.clock import Clock
    from consumer.sandbox.kafka import EmbeddedKafka
    from consumer.stages.finding import Finding
    from tests.integration.conftest import TopicFactory


SCHEMA = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'


@pytest.fixture
async def target() -> AsyncIterator[TargetSandbox]:
    """A sandbox that requires a token."""
    async with TargetSandbox(TargetOptions(token="right")) as sandbox:
        yield sandbox


def settings(
    folder: Path,
    endpoint: str,
    bootstrap: str,
    topic: str,
    **target: Any,  # noqa: ANN401
) -> Settings:
    """Make settings for one test, and a schema."""
    (folder / "schemas").mkdir()
    (folder / "schemas" / "1.avsc").write_text(SCHEMA)
    return Settings.model_validate(
        {
            "application": topic,
            "kafka": {"bootstrap.servers": bootstrap},
            "purchases": {"topic": topic, "schemas": str(folder / "schemas")},
            "aggregate": {"state_dir": str(folder / "state")},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme", "endpoint": endpoint, **target},
        }
    )


async def findings(
    given: Settings, clock: Clock | None = None, replicas: int | None = None
) -> dict[str, list[Finding]]:
    """Examine, and sort what is found by subject."""
    found: dict[str, list[Finding]] = {}
    async for one in examine(
        given,
        clock or SystemClock(),
        lambda: schemas_of(given),
        patience=2.0,
        replicas=replicas,
    ):
        found.setdefault(one.subject, []).append(one)
    return found


async def test_a_site_that_is_ready_is_found_fine(
    kafka: EmbeddedKafka,
    topic_factory: TopicFactory,
    target: TargetSandbox,
    tmp_path: Path,
) -> None:
    """Every subject has its line, and Target got no metered call but the token's."""
    topic = topic_factory("purchases", partitions=4)
    token_api = {
        "tenant": "acme",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "ims": target.endpoint,
        "admin": target.endpoint,
    }
    given = settings(
        tmp_path, target.endpoint, kafka.bootstrap, topic, token_api=token_api
    )
    admin = TopicAdmin(given)
    specs, _ = await asyncio.to_thread(admin.plan)
    await asyncio.to_thread(admin.create, specs)
    found = await findings(given)
    assert list(found) == [
        *("configuration", "brokers", "topics", "keys", "transactions"),
        *("schemas", "target", "clock", "token", "disk", "budget"),
    ]
    assert [one for lines in found.values() for one in lines if not one.ok] == []
    assert "good for 90 days" in found["token"][0].what
    assert [call.method for call in target.journal.calls] == ["GET"]
    assert not (tmp_path / "state").exists(), "nothing is made"


async def test_each_thing_that_is_missing_is_told_with_what_to_do(
    kafka: EmbeddedKafka,
    topic_factory: TopicFactory,
    tmp_path: Path,
    unused_tcp_port: int,
) -> None:
    """One defect hides no other."""
    topic = topic_factory("purchases", partitions=4)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(topic, b"\0\0\0\0\7abc", b"ann")
    producer.flush()
    token = {"file": str(tmp_path / "absent")}
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    given = settings(tmp_path, nowhere, kafka.bootstrap, topic, token=token)
    found = await findings(given, replicas=40)
    assert not any(one.ok for one in found["topics"])
    assert "pos-consumer topics create" in found["topics"][0].remedy
    newest, unknown = found["schemas"]
    assert newest.ok
    assert "1 of the newest 1 records name schema 7" in unknown.what
    assert "7.avsc" in unknown.remedy, "a folder has no grace"
    assert "target.endpoint" in found["target"][0].remedy
    assert not found["token"][0].ok
    assert found["budget"][0].ok, "there are only four partitions to share"


async def test_without_brokers_the_rest_is_examined_all_the_same(
    target: TargetSandbox, tmp_path: Path, unused_tcp_port: int
) -> None:
    """What needs a broker is left out, after the line that says why."""
    given = settings(
        tmp_path, target.endpoint, f"127.0.0.1:{unused_tcp_port}", "p", token="right"
    )
    found = await findings(given)
    assert not found["brokers"][0].ok
    assert found["target"][0].ok
    assert "topics" not in found


async def test_a_clock_that_is_off_is_told(
    target: TargetSandbox, tmp_path: Path, unused_tcp_port: int
) -> None:
    """The slots of the call budget are those of the clock."""
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    given = settings(tmp_path, target.endpoint, nowhere, "p")
    found = [one async for one in doctor._target(given, ManualClock(time.time() - 30))]
    assert [one.ok for one in found] == [True, False]
    assert "NTP" in found[1].remedy


async def test_keys_that_producers_place_differently_are_told(
    kafka: EmbeddedKafka,
    topic_factory: TopicFactory,
    target: TargetSandbox,
    tmp_path: Path,
) -> None:
    """One key may then lie in two partitions, and so may a visitor."""
    topic = topic_factory("purchases", partitions=4)
    given = settings(tmp_path, target.endpoint, kafka.bootstrap, topic)
    for partitioner, fine in (("consistent_random", True), ("murmur2_random", False)):
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "partitioner": partitioner}
        )
        for number in range(100):
            producer.produce(topic, b"x", f"visitor-{number}".encode())
        assert producer.flush(20) == 0
        (found,) = (await findings(given))["keys"]
        assert found.ok is fine
    assert 'key = "other"' in found.remedy
    assert "of the newest 200 records" in found.what.lower()


@pytest.mark.parametrize(
    ("partitions", "replicas", "fine"), [(8, 8, True), (16, 11, False), (0, 20, False)]
)
def test_a_share_below_four_calls_a_minute_is_told(
    tmp_path: Path, partitions: int, replicas: int, *, fine: bool
) -> None:
    """40 calls over 11 replicas leave too few to each."""
    given = settings(tmp_path, "http://127.0.0.1:9", "b:1", "p")
    assert budget(given, partitions, replicas).ok is fine


def test_a_disk_that_is_full_remote_or_closed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store needs room on a local disk."""
    given = settings(tmp_path, "http://127.0.0.1:9", "b:1", "p")
    assert doctor._disk(given).ok
    monkeypatch.setattr(doctor, "_file_system", lambda _: "nfs4")
    assert "network file system" in doctor._disk(given).what
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "LEAST_FREE", 10**18)
    assert "are free" in doctor._disk(given).what
