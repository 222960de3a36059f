"""Visitors are erased: at once here, deleted when Target knows, not brought back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from consumer.clock import ManualClock
from consumer.frames import Outcome
from consumer.kafka.control_records import ControlView, Progress, Request, encode
from consumer.profiles.fold import Fold, packed_hashes
from consumer.profiles.state_records import to_changes
from consumer.profiles.store import Tails
from consumer.stages import erasure
from consumer.stages.erasure import KIND, Erasure
from tests.property.memory_store import MemoryStore
from tests.property.world import World

NOW = 1_770_000_000
DAY = 86_400
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "visitor_id", "type": "string"},
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {"name": "sku", "type": "string"},
    ],
}
TELLING: dict[str, dict[str, Any]] = {
    "orders": {"aggregate": "count"},
    "last_sku": {"aggregate": "last", "of": "sku", "sentinel": "none"},
}
SILENT: dict[str, dict[str, Any]] = {"orders": {"aggregate": "count"}}


class Topic:
    """The control topic, as one process follows it and writes to it."""

    def __init__(self) -> None:
        self.view = ControlView()

    @property
    def control(self) -> Topic:
        """What writes to it."""
        return self

    def put(self, *records: Request | Progress) -> None:
        """Write, and follow at once."""
        pairs = [(one.key.encode(), encode(one)) for one in records]
        self.view = self.view.with_records(pairs, 0)


class Shop:
    """One partition whose owner serves requests; Target is told by `delivered`."""

    def __init__(self, attributes: dict[str, dict[str, Any]] = TELLING) -> None:
        self.world = World(attributes, {1: SCHEMA})
        self.topic = Topic()
        self.clock = ManualClock(float(NOW))
        self.delivered = False
        self.asked: list[int] = []
        self.written: list[tuple[bytes | None, bytes | None]] = []
        self.state: list[tuple[bytes | None, bytes | None]] = []
        self.numbers = 0
        self.world.open(0, MemoryStore())
        self.restart()

    def restart(self) -> None:
        """Let another process own the partition."""
        self.world.values()  # flushes
        self.world.open(0, self.world.stores[0])
        self.erasure = Erasure(
            self.world.codec,
            Fold(self.world.plan, 3),
            cast("Any", self.topic),
            self.clock,
            self._delivered,
            generation=3,
            keep=30 * DAY,
            plan=self.world.plan,
        )

    def _delivered(self, partition: int, offset: int) -> bool:
        assert partition == 0
        self.asked.append(offset)
        return self.delivered

    def buy(self, visitor: str, *, at: float = NOW, number: int | None = None) -> str:
        """Let a purchase be recorded; what it became."""
        self.numbers += 1
        event = {
            "event_id": str(number or self.numbers),
            "visitor_id": visitor,
            "occurred_at": int(at * 1_000),
            "sku": "s",
        }
        timestamp = int(self.clock.now() * 1_000)
        prepared = self.world.feed([self.world.record(event, timestamp=timestamp)])
        return Outcome(prepared.verdicts.outcomes[0]).label

    def ask(self, *visitors: str) -> Request:
        """Ask for an erasure."""
        keys = [key.hex() for key in packed_hashes(v.encode() for v in visitors)]
        request = Request.new(KIND, self.clock.now(), 1, {"visitors": keys})
        self.topic.put(request)
        return request

    def turn(self, *, commits: bool = True) -> int:
        """Do one round as the stage does; how many records of profiles it wrote."""
        outputs, halts = self.erasure.due(self.world.partitions)
        assert not halts
        written = 0
        for number, output in outputs.items():
            written += len(output.profiles)
            if commits:
                self.written += output.profiles
                self.state += output.state
                tails = Tails(len(self.written), len(self.state))
                changes = replace(output.changes, tails=tails)
                self.world.partitions[number].commit(changes, now=0.0)
        if outputs and commits:
            self.erasure.written(self.world.partitions)
        self.clock.advance(erasure.LOOK_SECONDS)
        return written

    def progress(self, request: Request) -> Progress | None:
        """Give what the owner has reported."""
        return self.topic.view.progress(request.id).get(0)


def test_a_visitor_is_erased_told_and_then_deleted() -> None:
    """An erased row with sentinels, and a tombstone once Target has it; not before."""
    shop = Shop()
    shop.buy("ann")
    shop.buy("bob")
    version = shop.world.profiles()["ann"]["version"]
    request = shop.ask("ann", "nobody")
    assert shop.turn() == 1
    profile = shop.world.profiles()["ann"]
    assert profile["version"] == version + 1
    assert profile["erased_at"] == int(request.at * 1_000)
    assert profile["orders"] == {"total": 0, "weight": 0}
    assert profile["last_sku"]["value"] is None
    assert shop.world.rows()["ann"] == {"orders": None, "last_sku": "none"}
    for _ in range(3):
        assert shop.turn() == 0
    found = shop.progress(request)
    assert found is not None
    assert (found.state, found.done, found.total) == ("delivering", 0, 1)
    assert set(shop.asked) == {1}
    shop.delivered = True
    assert shop.turn() == 1
    assert shop.written[-1] == (b"ann", None)
    assert shop.world.profiles().keys() == {"bob"}
    found = shop.progress(request)
    assert found is not None
    assert (found.state, found.done, found.total) == ("done", 1, 1)
    assert shop.turn() == 0


def test_without_a_sentinel_there_is_nothing_to_tell() -> None:
    """The profile is deleted at once: Target could be given nothing."""
    shop = Shop(SILENT)
    shop.buy("ann")
    request = shop.ask("ann")
    shop.turn()
    shop.turn()
    assert shop.written[-1] == (b"ann", None)
    assert shop.world.profiles() == {}
    assert not shop.asked
    assert (found := shop.progress(request)) is not None
    assert found.ended


def test_what_had_happened_by_then_does_not_come_back() -> None:
    """Replayed and late events are filtered, new ones make a new profile."""
    shop = Shop()
    shop.buy("ann", number=1)
    shop.delivered = True
    shop.ask("ann")
    while shop.turn():
        pass
    shop.turn()
    assert shop.buy("ann", at=NOW - 90 * DAY) == "filtered"
    assert shop.buy("ann", at=NOW) == "filtered"
    assert shop.buy("bob", at=NOW) == "folded"
    assert shop.buy("ann", at=NOW + 1) == "folded"
    assert shop.world.profiles()["ann"]["orders"]["total"] == 1
    shop.restart()
    assert shop.buy("ann", at=NOW - DAY) == "filtered"


def test_who_buys_again_before_the_deletion_keeps_the_new_profile() -> None:
    """Only erased rows are deleted."""
    shop = Shop()
    shop.buy("ann")
    shop.ask("ann")
    shop.turn()
    shop.buy("ann", at=NOW + 60)
    shop.delivered = True
    for _ in range(3):
        assert shop.turn() == 0
    assert shop.world.profiles()["ann"]["orders"]["total"] == 1
    assert shop.world.profiles()["ann"]["erased_at"] == 0


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("commits", [True, False])
def test_it_goes_on_after_a_crash_at_any_step(step: int, *, commits: bool) -> None:
    """Another process finds out what is left, committed or not."""
    shop = Shop()
    shop.buy("ann")
    shop.buy("bob")
    request = shop.ask("ann")
    for number in range(step):
        shop.delivered = number > 1
        shop.turn()
    if not commits:
        shop.turn(commits=False)
    else:
        outputs, _ = shop.erasure.due(shop.world.partitions)
        for number, output in outputs.items():
            changes = replace(output.changes, tails=Tails(9, 9))
            shop.world.partitions[number].commit(changes, now=0.0)
    shop.restart()
    shop.delivered = True
    for _ in range(6):
        shop.turn()
    assert shop.world.profiles().keys() == {"bob"}
    assert shop.buy("ann", at=NOW - 5) == "filtered"
    assert (found := shop.progress(request)) is not None
    assert found.state == "done"


def test_an_erasure_is_forgotten_after_its_time() -> None:
    """The hash of the visitor goes as well, from the store and from the topic."""
    shop = Shop()
    shop.delivered = True
    shop.ask("ann")
    for _ in range(4):
        shop.turn()
    (key,) = packed_hashes([b"ann"])
    assert shop.world.partitions[0].suppressed == {key: NOW * 1_000}
    shop.clock.advance(29 * DAY)
    shop.turn()
    assert key in shop.world.partitions[0].suppressed
    shop.clock.advance(2 * DAY)
    shop.turn()
    assert key in shop.world.partitions[0].suppressed, "no record is of that day yet"
    shop.buy("bob", at=shop.clock.now())
    shop.clock.advance(erasure.SWEEP_SECONDS)
    shop.turn()
    assert shop.world.partitions[0].suppressed == {}
    shop.world.values()
    assert shop.world.stores[0].suppressed() == {}
    pairs = [(k or b"", v) for k, v in shop.state]
    assert to_changes(pairs).suppressed == {key: None}
    assert to_changes(pairs[:2]).suppressed == {key: NOW * 1_000}


def test_more_visitors_than_a_transaction_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are erased some at a time, and all of them."""
    monkeypatch.setattr(erasure, "MOST", 3)
    shop = Shop()
    for number in range(10):
        shop.buy(f"v{number}")
    shop.delivered = True
    request = shop.ask(*[f"v{number}" for number in range(8)])
    assert [shop.turn() for _ in range(6)] == [3, 3, 2, 3, 3, 2]
    assert shop.world.profiles().keys() == {"v8", "v9"}
    assert (found := shop.progress(request)) is not None
    assert (found.state, found.done) == ("done", 8)


@pytest.mark.parametrize("body", [{}, {"visitors": [7]}, {"visitors": ["zz"]}])
def test_a_request_that_is_none_fails_alone(body: dict[str, Any]) -> None:
    """It is reported as failed, and what comes after it is served."""
    shop = Shop()
    shop.buy("ann")
    bad = Request.new(KIND, shop.clock.now() - 1, 1, body)
    shop.topic.put(bad)
    shop.ask("ann")
    assert shop.turn() == 1
    assert (found := shop.progress(bad)) is not None
    assert found.state == "failed"


@pytest.mark.parametrize("attributes", [TELLING, SILENT])
def test_what_was_on_disk_before_does_not_come_back_with_the_next_purchase(
    attributes: dict[str, dict[str, Any]],
) -> None:
    """The profile had been flushed long before it was erased."""
    shop = Shop(attributes)
    for _ in range(3):
        shop.buy("ann")
    shop.world.partitions[0].store.flush(now=0.0)
    shop.delivered = True
    shop.ask("ann")
    for _ in range(6):
        shop.turn()
    assert shop.written[-1] == (b"ann", None)

    assert shop.buy("ann", at=NOW + 1) == "folded"

    assert shop.world.rows()["ann"]["orders"] == "1"


def test_a_clock_that_is_ahead_forgets_no_erasure() -> None:
    """It would be for good, and a late purchase would bring the visitor back."""
    shop = Shop(SILENT)
    shop.buy("ann")
    shop.ask("ann")
    for _ in range(4):
        shop.turn()
    shop.clock.advance(31 * DAY)
    shop.restart()
    shop.turn()
    shop.clock = ManualClock(float(NOW) + 60)
    assert shop.buy("ann", at=NOW - 5 * DAY) == "filtered"
