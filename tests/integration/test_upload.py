"""The upload stage on a real broker against the Target sandbox."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.clock import SystemClock
from consumer.config import Settings
from consumer.errors import TopicAbsent
from consumer.kafka.uploads_ledger import UploadsLedger
from consumer.sandbox.target import (
    Endpoint,
    Fault,
    FaultKind,
    TargetOptions,
    TargetSandbox,
)
from consumer.sandbox.target.admin import CLIENT_ID, CLIENT_SECRET
from consumer.sandbox.target.faults import ALWAYS
from consumer.stages.upload import UploadStage
from consumer.telemetry.health import Health
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

PARTITIONS = 2
PATIENCE = 20.0
SLOW = 600.0
ONE_FILE = {"max_age": "1s"}  # long enough for all partitions to be read


class JsonRenderer:
    """Profiles as JSON lists: visitor, version, orders, store."""

    attributes = ("orders", "store")

    def rows(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """Render like the real one."""
        found = [json.loads(value) for value in values]
        columns = list(zip(*found, strict=True)) or [(), (), (), ()]
        visitor, version, orders, store = columns
        return pa.record_batch(
            {
                "visitor": pa.array(visitor, pa.string()),
                "version": pa.array(version, pa.int64()),
                "generation": pa.array([1] * len(found), pa.int32()),
                "orders": pa.array(orders, pa.string()),
                "store": pa.array(store, pa.string()),
            }
        )


class TargetClock(SystemClock):
    """Real time, until a test puts Target ahead: then slow batches are complete."""

    ahead = 0.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return super().now() + self.ahead


class Site:
    """Topics of one test, a sandbox, and stages that are started and stopped."""

    def __init__(
        self, bootstrap: str, topics: dict[str, str], target: TargetSandbox
    ) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.target = target
        self.clock: TargetClock
        self.folder: Path
        self.last_offsets: dict[int, int] = {}

    def settings(self, **target: Any) -> Settings:  # noqa: ANN401 - as in a file
        """Make settings for the test; `target` are keys of that table."""
        table: dict[str, Any] = {
            "client": "acme",
            "endpoint": self.target.endpoint,
            "batch": {"max_age": "200ms", "max_rows": 1_000},
            "budget": {"calls_per_minute": 1_200, "reserve": 0},
            "delivery": {"confirm_timeout": "10s"},
        }
        return Settings.model_validate(
            {
                "application": self.topics["profiles"],
                "kafka": {
                    "bootstrap.servers": self.bootstrap,
                    "consumer": {"session.timeout.ms": 6_000},
                },
                "purchases": {"topic": "unused"},
                "attributes": {"orders": {"aggregate": "count"}},
                "target": table | target,
                **{name: {"topic": topic} for name, topic in self.topics.items()},
            },
        )

    def produce(
        self,
        rows: Iterable[tuple[str, int, str | None] | str],
        *,
        transaction: bool | None = None,
    ) -> None:
        """Write profiles (visitor, version, orders); a bare visitor is a tombstone.

        With `transaction` they are committed (True) or aborted (False).
        """
        options = {"bootstrap.servers": self.bootstrap}
        if transaction is not None:
            options["transactional.id"] = self.topics["profiles"]
        producer = Producer(options)
        if transaction is not None:
            producer.init_transactions()
            producer.begin_transaction()
        for row in rows:
            visitor = row if isinstance(row, str) else row[0]
            value = None
            if not isinstance(row, str):
                value = json.dumps([row[0], row[1], row[2], "S 1"]).encode()
            producer.produce(
                self.topics["profiles"],
                key=visitor.encode(),
                value=value,
                partition=sum(visitor.encode()) % PARTITIONS,
            )
        producer.flush(10)
        if transaction:
            producer.commit_transaction()
        elif transaction is False:
            producer.abort_transaction()

    def ends(self) -> dict[int, int]:
        """Return the end of each partition of profiles."""
        with self._consumer() as consumer:
            return {
                partition: consumer.get_watermark_offsets(
                    TopicPartition(self.topics["profiles"], partition)
                )[1]
                for partition in range(PARTITIONS)
            }

    def committed(self) -> dict[int, int]:
        """Return the upload group's offsets."""
        places = [
            TopicPartition(self.topics["profiles"], partition)
            for partition in range(PARTITIONS)
        ]
        with self._consumer(self.settings().upload_group) as consumer:
            return {p.partition: max(p.offset, 0) for p in consumer.committed(places)}

    def open_batches(self) -> int:
        """Count the ledger's open entries."""
        ledger = UploadsLedger(self.settings())
        return len(ledger.read_open(range(PARTITIONS)).entries)

    def read(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        """Return keys and values of a topic from its start."""
        found: list[tuple[bytes | None, bytes | None]] = []
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
            while records := consumer.consume(1_000, 1.0):
                found += [(record.key(), record.value()) for record in records]
        return found

    def uploads(self, visitor: str | None = None) -> list[tuple[str, str]]:
        """Return visitor and orders of each row that Target took, in their order."""
        return [
            (row.visitor, row.attributes.get("orders", ""))
            for row in self.target.journal.rows(visitor)
        ]

    def uploaded_since(self, at: float) -> set[str]:
        """Return the visitors of rows that Target took from then on (epoch seconds)."""
        return {row.visitor for row in self.target.journal.rows() if row.at >= at}

    def _consumer(self, group: str = "looking") -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": "false",
            }
        )

    @asynccontextmanager
    async def running(
        self, settings: Settings | None = None
    ) -> AsyncIterator[UploadStage]:
        """Run a stage and drain it at the end."""
        stage = self.stage(settings)
        task = asyncio.create_task(stage.run())
        try:
            yield stage
            if task.done():
                await task
            await stage.drain(time.monotonic() + 10)
            await task
        finally:
            stage.abort()
            await asyncio.gather(task, return_exceptions=True)

    def stage(self, settings: Settings | None = None) -> UploadStage:
        """Make a stage that has not run yet."""
        self.metrics, self.health = Metrics(), Health()
        return UploadStage(
            settings or self.settings(),
            JsonRenderer(),
            self.metrics,
            self.health,
            SystemClock(),
        )


@pytest.fixture
async def site(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> AsyncIterator[Site]:
    """A sandbox whose batches complete quickly, and topics of this test."""
    compact = {"cleanup.policy": "compact"}
    topics = {
        name: topic_factory(name, partitions=PARTITIONS, config=compact)
        for name in ("profiles", "uploads", "rejected_rows")
    }
    options = TargetOptions(calls_per_minute=100_000, processing_time=0.2)
    clock = TargetClock()
    async with TargetSandbox(options, clock) as target:
        found = Site(kafka.bootstrap, topics, target)
        found.clock = clock
        yield found


async def until(
    condition: Callable[[], bool], seconds: float = PATIENCE, *, off_loop: bool = False
) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not (await asyncio.to_thread(condition) if off_loop else condition()):
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.05)


def orders_of(site: Site, visitor: str) -> str | None:
    """Return what Target shows as a visitor's orders."""
    return (site.target.profile(visitor) or {}).get("orders")


def numbered(first: int, last: int) -> list[tuple[str, int, str | None]]:
    """Make profiles of visitors `first` to `last` - 1."""
    return [(f"v-{number}", 1, str(number)) for number in range(first, last)]


async def test_profiles_arrive_and_everything_is_committed(site: Site) -> None:
    """Rows stand at Target, the ledger is empty, and no marker leaves a lag."""
    site.produce(numbered(0, 500), transaction=True)
    site.produce([("v-1", 2, "aborted")], transaction=False)
    site.produce(["v-gone"], transaction=True)
    async with site.running():
        await until(lambda: sum(1 for _ in site.target.profiles()) == 500)
        assert site.target.profile("v-7") == {"orders": "7", "store": "S 1"}
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        await until(lambda: site.open_batches() == 0, off_loop=True)
    assert site.target.profile("v-1") == {"orders": "1", "store": "S 1"}
    assert site.target.journal.violations == []
    assert site.health.readiness().ready


async def test_the_newest_row_lands_last(site: Site) -> None:
    """A visitor has one upload in flight; the row after it is the newest, not each."""
    async with site.running():
        for version in range(1, 40):
            site.produce([("anna", version, str(version))])
            await asyncio.sleep(0.05)
        await until(
            lambda: site.target.profile("anna") == {"orders": "39", "store": "S 1"}
        )
    sent = [int(orders) for _, orders in site.uploads("anna")]
    assert sent == sorted(set(sent))
    assert len(sent) < 39


async def test_a_restart_sends_no_accepted_row_again_and_takes_up_open_batches(
    site: Site,
) -> None:
    """What was accepted before a sudden end is followed, not repeated."""
    site.target.order(Fault(FaultKind.SLOW, seconds=SLOW))
    site.produce(numbered(0, 100))
    first = site.stage(site.settings(batch=ONE_FILE))
    task = asyncio.create_task(first.run())
    await until(lambda: len(site.uploads()) == 100)
    await until(lambda: site.committed() == site.ends(), off_loop=True)
    first.abort()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(site.open_batches) == PARTITIONS
    site.produce([("v-3", 2, "newer")])
    async with site.running(
        site.settings(delivery={"confirm_timeout": "5m"})
    ) as second:
        await until(lambda: hasattr(second, "_context"))
        await until(lambda: len(second._context.calling) == PARTITIONS)
        await asyncio.sleep(1.5)
        assert len(site.uploads()) == 100, "v-3 is held back by the open batch"
        site.clock.ahead = SLOW
        await until(
            lambda: site.target.profile("v-3") == {"orders": "newer", "store": "S 1"}
        )
        await until(lambda: site.open_batches() == 0, off_loop=True)
    assert len(site.uploads()) == 101


async def test_accepted_rows_that_were_not_committed_are_not_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's exact ranges account for them after a crash before the commit."""
    site.target.order(Fault(FaultKind.SLOW, seconds=SLOW))
    site.produce(numbered(0, 50))
    first = site.stage(site.settings(batch=ONE_FILE))

    async def no_commit(*_: object) -> None:
        await asyncio.sleep(0)

    task = asyncio.create_task(first.run())
    await until(lambda: first.state == "running" and hasattr(first, "_reader"))
    monkeypatch.setattr(first._reader, "commit", no_commit)
    first._reader.committed_at = float("inf")
    await until(lambda: len(site.uploads()) == 50)
    await until(lambda: site.open_batches() == PARTITIONS, off_loop=True)
    first.abort()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(site.committed) == {0: 0, 1: 0}
    async with site.running():
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        site.clock.ahead = SLOW
        await until(lambda: site.open_batches() == 0, off_loop=True)
    assert len(site.uploads()) == 50


async def test_a_post_without_an_answer_is_repeated_in_the_end(site: Site) -> None:
    """After a sudden end with an intent, the rows come again, and once more later.

    Where they come so late that no earlier copy is left to land, once is enough.
    """
    site.target.order(Fault(FaultKind.LATE_ANSWER, seconds=30.0))
    site.produce(numbered(0, 10))
    settings = site.settings(batch=ONE_FILE, delivery={"confirm_timeout": "5s"})
    first = site.stage(settings)
    task = asyncio.create_task(first.run())
    await until(lambda: len(site.uploads()) == 10)
    first.abort()
    await asyncio.gather(task, return_exceptions=True)
    due_at = time.time() + 5.0
    async with site.running(settings):
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        assert len(site.uploads()) >= 20  # they may have come once more by now
        site.produce([("v-3", 2, "newer")])
        visitors = {visitor for visitor, _, _ in numbered(0, 10)}
        await until(lambda: site.uploaded_since(due_at) == visitors)
        await until(lambda: site.open_batches() == 0, off_loop=True)
    assert site.uploads("v-3")[-1] == ("v-3", "newer")
    assert site.target.profile("v-3") == {"orders": "newer", "store": "S 1"}


@pytest.mark.parametrize(
    "kind", [FaultKind.HTTP_503, FaultKind.HTTP_500, FaultKind.LOST]
)
async def test_outages_are_waited_out(site: Site, kind: FaultKind) -> None:
    """Throttling and errors delay rows, they lose none and halt nothing."""
    site.target.order(Fault(kind, calls=3))
    site.produce(numbered(0, 20))
    settings = site.settings(delivery={"confirm_timeout": "1s"})
    async with site.running(settings):
        await until(lambda: sum(1 for _ in site.target.profiles()) == 20)
        await until(lambda: site.committed() == site.ends(), off_loop=True)
    assert site.health.readiness().degraded == {}


async def test_a_client_that_target_does_not_know_is_shown_until_it_is_mended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness says so, and the drain how many rows are left."""
    monkeypatch.setattr("consumer.stages.upload_delivery.TROUBLED", 0.5)
    site.produce(numbered(0, 20))
    fault = Fault(FaultKind.UNSUCCESSFUL, calls=ALWAYS, message="Unexpected Error")
    site.target.order(fault)
    async with site.running():
        await until(lambda: "upload: delivery" in site.health.readiness().degraded)
        assert "Unexpected" in site.health.readiness().degraded["upload: delivery"]
        site.target.account.faults.cancel()
        await until(lambda: sum(1 for _ in site.target.profiles()) == 20)
        await until(lambda: site.health.readiness().degraded == {})


async def test_a_refused_token_pauses_and_a_new_one_resumes(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost or rejected meanwhile, and the reason is shown."""
    monkeypatch.setattr("consumer.stages.upload_delivery.AUTHORISATION_PAUSE", 0.5)
    token = tmp_path / "token"
    token.write_text("old\n")
    options = TargetOptions(token="new", processing_time=0.2, calls_per_minute=10_000)
    async with TargetSandbox(options) as target:
        site.target = target
        site.produce(numbered(0, 20))
        async with site.running(site.settings(token={"file": str(token)})):
            await until(lambda: target.journal.count(Endpoint.SUBMIT) >= 2)
            told = site.health.readiness().degraded["upload: target"]
            assert "Put a valid one" in told
            assert "HTTP 401" in told
            token.write_text("new\n")
            await until(lambda: sum(1 for _ in target.profiles()) == 20)
            await until(lambda: site.committed() == site.ends(), off_loop=True)
            assert site.health.readiness().degraded == {}
    assert site.read(site.topics["rejected_rows"]) == []


async def test_a_token_that_somebody_replaced_is_fetched_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain of Adobe's documentation opens the account, again and again."""
    monkeypatch.setattr("consumer.stages.upload_delivery.AUTHORISATION_PAUSE", 0.5)
    monkeypatch.setattr("consumer.stages.upload_token.OFTEN", 1.0)
    options = TargetOptions(token="old", processing_time=0.2, calls_per_minute=10_000)
    async with TargetSandbox(options) as target:
        site.target = target
        token_api = {
            "tenant": "acme",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "ims": target.endpoint,
            "admin": target.endpoint,
        }
        async with site.running(site.settings(token_api=token_api)):
            site.produce(numbered(0, 20))
            await until(lambda: sum(1 for _ in target.profiles()) == 20)
            target.account.new_token("new")
            site.produce(numbered(20, 30))
            await until(lambda: sum(1 for _ in target.profiles()) == 30)
        assert target.journal.violations == []


async def test_rows_that_target_cannot_take_are_kept_with_their_reason(
    site: Site,
) -> None:
    """They are passed by the commit once they are in the rejected rows."""
    site.produce([("a/b", 7, "1"), ("good", 1, "2"), ("x" * 300, 2, "3")])
    async with site.running():
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        await until(lambda: site.target.profile("good") is not None)
    kept = {
        k: json.loads(v or b"{}") for k, v in site.read(site.topics["rejected_rows"])
    }
    assert kept[b"a/b"]["version"] == 7
    assert kept[b"a/b"]["reason"] == "visitor_characters"
    assert kept[b"x" * 300]["reason"] == "visitor_too_long"
    assert [visitor for visitor, _ in site.uploads()] == ["good"]


async def test_a_row_that_target_refuses_is_found_and_kept_and_the_rest_delivered(
    site: Site,
) -> None:
    """The file is divided down to the row; its offset passes once it is kept."""
    site.target.order(
        Fault(FaultKind.UNSUCCESSFUL, calls=ALWAYS, message="Bad row", visitor="v-13")
    )
    site.produce(numbered(0, 200))
    async with site.running(site.settings(batch=ONE_FILE)):
        await until(lambda: sum(1 for _ in site.target.profiles()) == 199)
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        await until(lambda: site.open_batches() == 0, off_loop=True)
    [(visitor, value)] = site.read(site.topics["rejected_rows"])
    assert visitor == b"v-13"
    assert json.loads(value or b"") == {
        "version": 1,
        "reason": "refused_by_target",
        "sentence": "Bad row",
    }
    assert site.health.readiness().degraded == {}


async def test_a_file_that_is_refused_as_a_whole_halts_and_rejects_no_row(
    site: Site,
) -> None:
    """Where Target takes nothing, no row is at fault: all are still to be sent."""
    site.target.order(Fault(FaultKind.UNSUCCESSFUL, calls=ALWAYS, message="No"))
    site.produce(numbered(0, 100))
    async with site.running(site.settings(batch=ONE_FILE)):
        await until(lambda: len(site.health.readiness().degraded) == PARTITIONS)
        await until(lambda: site.open_batches() == 0, off_loop=True)
    assert site.read(site.topics["rejected_rows"]) == []
    assert site.committed() == {0: 0, 1: 0}
    assert site.target.journal.count(Endpoint.SUBMIT) <= 60


async def test_a_row_that_makes_target_fail_is_found_after_the_deadline(
    site: Site,
) -> None:
    """HTTP 500 for one file, while others pass, is not waited out for ever."""
    site.target.order(Fault(FaultKind.HTTP_500, calls=ALWAYS, visitor="v-3"))
    site.produce(numbered(0, 16))
    delivery = {"deadline": "1s", "confirm_timeout": "2s"}
    settings = site.settings(batch=ONE_FILE, delivery=delivery)
    async with site.running(settings):
        await until(lambda: sum(1 for _ in site.target.profiles()) == 15, 40)
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        await until(lambda: site.open_batches() == 0, off_loop=True)
        calls = site.target.journal.count(Endpoint.SUBMIT)
        await asyncio.sleep(3.0)
        assert site.target.journal.count(Endpoint.SUBMIT) == calls, "it is left alone"
    assert [v for v, _ in site.read(site.topics["rejected_rows"])] == [b"v-3"]


async def test_an_outage_beyond_the_deadline_rejects_and_halts_nothing(
    site: Site,
) -> None:
    """The rows go back, gather newer ones, and land when Target is back."""
    for kind in (FaultKind.HTTP_500, FaultKind.LOST):
        site.target.order(Fault(kind, calls=ALWAYS, probability=0.5))
    site.target.order(Fault(FaultKind.LOST, calls=ALWAYS))
    site.produce(numbered(0, 20))
    delivery = {"deadline": "1s", "confirm_timeout": "1s"}
    async with site.running(site.settings(delivery=delivery)):
        await until(lambda: site.target.journal.count(Endpoint.SUBMIT) > 8, 40)
        site.produce([("v-3", 2, "newer")])
        site.target.account.faults.cancel()
        await until(lambda: sum(1 for _ in site.target.profiles()) == 20, 40)
        await until(lambda: orders_of(site, "v-3") == "newer")
        await until(lambda: site.committed() == site.ends(), off_loop=True)
    assert site.health.readiness().degraded == {}
    assert site.read(site.topics["rejected_rows"]) == []


async def test_rows_that_failed_are_sent_again_as_the_latest_rows(site: Site) -> None:
    """A batch that is complete but for some rows ends with every visitor at Target."""
    site.target.order(Fault(FaultKind.FAILED_UPDATES, rows=5))
    site.produce(numbered(0, 30))
    async with site.running():
        await until(lambda: len(site.uploads()) >= 30)
        site.produce([("v-2", 2, "newer")])
        await until(lambda: sum(1 for _ in site.target.profiles()) == 30)
        await until(lambda: orders_of(site, "v-2") == "newer")
        await until(lambda: site.open_batches() == 0, off_loop=True)
    newer = site.uploads("v-2").index(("v-2", "newer"))
    assert newer == len(site.uploads("v-2")) - 1


async def test_where_target_lists_failed_rows_only_these_are_sent_again(
    site: Site,
) -> None:
    """The calls and bytes of the others are saved."""
    options = TargetOptions(
        failed_rows_listed=True, processing_time=0.2, calls_per_minute=10_000
    )
    async with TargetSandbox(options) as target:
        site.target = target
        target.order(Fault(FaultKind.FAILED_UPDATES, rows=5))
        site.produce(numbered(0, 30))
        async with site.running(site.settings(batch=ONE_FILE)):
            await until(lambda: sum(1 for _ in target.profiles()) == 30)
            await until(lambda: site.open_batches() == 0, off_loop=True)
    assert len(site.uploads()) == 35


async def test_a_stuck_batch_that_lands_after_all_does_not_stay(site: Site) -> None:
    """Its rows are sent at once, and again once it was let through over newer ones."""
    site.target.order(Fault(FaultKind.STUCK))
    site.produce(numbered(0, 10))
    settings = site.settings(batch=ONE_FILE, delivery={"confirm_timeout": "3s"})
    async with site.running(settings):
        await until(lambda: sum(1 for _ in site.target.profiles()) == 10)
        site.produce([("v-3", 2, "newer")])
        await until(lambda: orders_of(site, "v-3") == "newer")
        (stuck,) = [b for b in site.target.account.batches() if b.status == "stuck"]
        assert site.target.account.unstick(stuck.id)
        assert orders_of(site, "v-3") == "3"
        await until(lambda: orders_of(site, "v-3") == "newer")
        await until(lambda: site.open_batches() == 0, off_loop=True)


async def test_a_batch_that_lands_after_a_newer_row_is_mended(site: Site) -> None:
    """A batch without an end in time frees its visitors; their rows go once more."""
    site.target.order(Fault(FaultKind.SLOW, seconds=SLOW))
    site.produce(numbered(0, 10))
    settings = site.settings(batch=ONE_FILE, delivery={"confirm_timeout": "1s"})
    async with site.running(settings):
        await until(lambda: len(site.uploads()) == 10)
        site.produce([("v-3", 2, "newer")])
        await until(lambda: orders_of(site, "v-3") == "newer")
        site.clock.ahead = SLOW
        assert orders_of(site, "v-3") == "3", "the slow batch lands last"
        await until(lambda: orders_of(site, "v-3") == "newer")
        await until(lambda: site.open_batches() == 0, off_loop=True)


async def test_a_drain_sends_what_is_pending_and_keeps_its_deadline(
    site: Site,
) -> None:
    """Rows that wait for their batch's age go out when the stage is drained."""
    site.produce(numbered(0, 30))
    settings = site.settings(batch={"max_age": "10m"})
    async with site.running(settings) as stage:
        await until(lambda: site.metrics.pending_rows._value.get() == 30, 15)
        began = time.monotonic()
        await stage.drain(began + 10)
        assert time.monotonic() - began < 10
    assert len(site.uploads()) == 30
    assert site.committed() == site.ends()
    assert site.open_batches() == PARTITIONS


async def test_a_stage_that_is_aborted_before_it_begins_never_does(
    site: Site,
) -> None:
    """Whoever waits for its end gets it."""
    stage = site.stage()
    stage.abort()
    with pytest.raises(asyncio.CancelledError):
        await stage.run()


async def test_two_stages_share_the_partitions(site: Site) -> None:
    """A second one takes partitions over without loss or repetition."""
    site.produce(numbered(0, 100))
    async with site.running():
        await until(lambda: len(site.uploads()) == 100)
        await until(lambda: site.committed() == site.ends(), off_loop=True)
        async with site.running():
            await asyncio.sleep(4)
            site.produce(numbered(100, 200))
            await until(lambda: len(site.uploads()) >= 200)
            await until(lambda: site.committed() == site.ends(), off_loop=True)
    assert sorted(site.uploads()) == sorted((v, str(o)) for v, _, o in numbered(0, 200))


async def test_an_absent_topic_ends_the_stage_with_a_sentence(site: Site) -> None:
    """The service never creates topics; the error names the remedy."""
    site.topics["profiles"] += "-absent"
    with pytest.raises(TopicAbsent, match="topics create"):
        await site.stage().run()
