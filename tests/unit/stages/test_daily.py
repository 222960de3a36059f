"""Days pass: windows slide, at most once a day each, whatever the clock does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.clock import ManualClock
from consumer.errors import PartitionHalt
from consumer.profiles import agenda
from consumer.profiles.days import begins_at, day_of
from consumer.profiles.store import Changes, PartitionStore, Tails
from consumer.profiles.stream_time import ENOUGH
from consumer.stages.daily import MOST, Daily, day_to_take
from consumer.stages.tick import Tick
from tests.property.budget import examples
from tests.property.memory_store import MemoryStore
from tests.property.world import World

DAY = 86_400
NOON = DAY // 2
START = 20_000  # a day in 2024
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
        {"name": "amount", "type": "long"},
    ],
}
WINDOW = 3
ZONE = "America/New_York"
DAYS = {"window": f"{WINDOW}d", "time_zone": ZONE}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "spent": {"aggregate": "sum", "of": "amount", **DAYS},
    "largest": {"aggregate": "max", "of": "amount", "sentinel": "none", **DAYS},
    "amounts": {"aggregate": "distinct", "of": "amount", **DAYS},
    "orders": {"aggregate": "count"},
}


class Shop:
    """One partition, its clock, and the tick as the aggregate stage runs it."""

    def __init__(
        self,
        attributes: dict[str, dict[str, Any]] = ATTRIBUTES,
        *,
        spread: float = 1.0,
        expire_days: int | None = None,
    ) -> None:
        self.world = World(
            attributes, {1: SCHEMA}, deduplicate=0, expire_days=expire_days
        )
        plan, codec = self.world.plan, self.world.codec
        self.zone = plan.zone or "UTC"
        self.agenda = self.world.agenda
        self.tick = Tick(plan, codec, self.agenda, generation=7)
        self.clock = ManualClock(begins_at(START, self.zone) + NOON)
        self.spread = spread
        self.ticked: Counter[tuple[bytes, int]] = Counter()
        self.sales: list[tuple[str, datetime, int]] = []
        self.restart()

    def restart(self) -> None:
        """Begin with another process, on what the topics hold."""
        self.daily = Daily(
            self.tick,
            self.clock,
            zone=self.zone,
            spread=self.spread,
            begin_anew=lambda one: one.store.begin_agenda_anew(
                self.agenda, one.day, 0.0
            ),
        )
        if self.world.partitions:
            self.world.values()  # flushes
            store = self.world.stores[0]
            self.agenda.make_anew(cast("PartitionStore", store))
            self.world.open(0, store)

    def buy(self, visitor: str, amount: int, *, days_ago: int = 0) -> None:
        """Let a purchase happen, and be folded."""
        at = datetime.fromtimestamp(self.clock.now(), UTC) - timedelta(days=days_ago)
        self.sales.append((visitor, at, amount))
        event = {
            "event_id": str(len(self.sales)),
            "visitor_id": visitor,
            "occurred_at": at,
            "amount": amount,
        }
        now = int(self.clock.now() * 1000)
        record = self.world.record(event, timestamp=now)
        if 0 not in self.world.partitions:
            self.world.open(0, MemoryStore())
        self.daily.give_days(self.world.partitions.values())
        self.world.feed([record])

    def pass_on(self, seconds: float) -> int:
        """Let time pass and do what has become due; how many profiles were written."""
        self.clock.advance(seconds)
        written = 0
        for _ in range(1_000):
            self.daily.give_days(self.world.partitions.values())
            outputs, halts = self.daily.due(self.world.partitions)
            assert not halts
            for number, output in outputs.items():
                written += len(output.profiles)
                partition = self.world.partitions[number]
                for visitor, _ in output.profiles:
                    self.ticked[visitor or b"", partition.day] += 1
                changes = replace(output.changes, tails=Tails(1, 1))
                partition.commit(changes, now=0.0)
            if not outputs:
                return written
        raise AssertionError

    @property
    def today(self) -> int:
        """The day that the clock shows."""
        return day_of(self.clock.now(), self.zone)

    def expected(self) -> dict[str, dict[str, str | None]]:
        """Say what Target must have, as of today."""
        first = self.today - WINDOW + 1
        rows: dict[str, dict[str, str | None]] = {}
        for visitor in {sale[0] for sale in self.sales}:
            mine = [sale for sale in self.sales if sale[0] == visitor]
            inside = [
                amount
                for _, at, amount in mine
                if day_of(at.timestamp(), self.zone) >= first
            ]
            rows[visitor] = {
                "spent": str(sum(inside)),
                "largest": str(max(inside)) if inside else "none",
                "amounts": str(len(set(inside))),
                "orders": str(len(mine)),
            }
        return rows


def test_a_window_slides_without_a_purchase() -> None:
    """On the day that the oldest purchase leaves it the profile is written anew."""
    shop = Shop()
    shop.buy("ann", 5)
    shop.pass_on(DAY)
    shop.buy("ann", 2)
    shop.buy("bob", 2)
    assert shop.pass_on(DAY) == 0
    assert shop.world.rows()["ann"]["spent"] == "7"
    version = shop.world.profiles()["ann"]["version"]
    assert shop.pass_on(DAY) == 1
    profile = shop.world.profiles()["ann"]
    assert shop.world.rows()["ann"] == {
        "spent": "2",
        "largest": "2",
        "amounts": "1",
        "orders": "2",
    }
    assert (profile["version"], profile["generation"]) == (version + 1, 7)
    assert profile["as_of_day"] == shop.today
    assert shop.world.partitions[0].position.day == shop.today
    assert shop.pass_on(DAY) == 2
    assert shop.world.rows()["ann"]["spent"] == "0"
    assert shop.pass_on(10 * DAY) == 0


def test_a_value_that_stays_is_not_written() -> None:
    """A day that leaves the window and takes nothing with it costs no upload."""
    attributes = {"most": {"aggregate": "max", "of": "amount", **DAYS}}
    shop = Shop(attributes)
    shop.buy("ann", 5)
    shop.pass_on(DAY)
    shop.buy("ann", 9)
    assert shop.pass_on(2 * DAY) == 0
    assert shop.world.rows()["ann"] == {"most": "9"}
    assert shop.pass_on(DAY) == 1


def test_the_first_of_a_days_work_is_spread_by_visitor() -> None:
    """Half-way through `tick_over` about half of the profiles have slid, not more."""
    shop = Shop(spread=3_600.0)
    for number in range(300):
        shop.buy(f"v{number}", 1)
    midnight = begins_at(START + WINDOW, ZONE) - shop.clock.now()
    assert shop.pass_on(midnight) == 0
    assert 110 < shop.pass_on(1_800) < 190
    shop.restart()
    assert shop.pass_on(900) > 0
    shop.pass_on(900)
    assert shop.world.rows() == shop.expected()
    assert sum(shop.ticked.values()) == 300


def test_a_transaction_takes_a_bounded_number() -> None:
    """More than `MOST` profiles are written in several transactions."""
    shop = Shop({"spent": ATTRIBUTES["spent"]})
    count = MOST + 10
    at = int(shop.clock.now() * 1000)
    records = [
        shop.world.record(
            {
                "event_id": str(number),
                "visitor_id": f"v{number}",
                "occurred_at": at,
                "amount": 1,
            },
            timestamp=at,
        )
        for number in range(count)
    ]
    shop.world.feed(records)
    shop.clock.advance(5 * DAY)
    shop.daily.give_days(shop.world.partitions.values())
    outputs, _ = shop.daily.due(shop.world.partitions)
    assert len(outputs[0].profiles) == MOST


WRONG = 400  # days: a clock in another year
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), st.sampled_from("ab"), st.integers(1, 3)),
        st.tuples(st.just("late"), st.sampled_from("ab"), st.integers(1, 5)),
        st.tuples(st.just("pass"), st.sampled_from([3_600, DAY, DAY + 7_000, 5 * DAY])),
        st.tuples(st.just("jump"), st.sampled_from([-WRONG * DAY, WRONG * DAY])),
        st.tuples(st.just("restart")),
    ),
    max_size=14,
)


@pytest.fixture(scope="module", name="shop")
def _shop() -> Shop:
    return Shop()


@examples(60)
@given(steps=STEPS)
def test_whatever_happens_target_gets_the_last_days(
    shop: Shop, steps: list[tuple[Any, ...]]
) -> None:
    """Purchases, late ones, days, restarts and clocks that jump: values are right.

    While the clock is wrong nobody buys; what it did is mended once it is right again.
    """
    shop.world.forget()
    shop.clock = ManualClock(begins_at(START, ZONE) + NOON)
    shop.ticked.clear()
    shop.sales.clear()
    shop.restart()
    shop.buy("c", 1)
    for kind, *details in [*steps, ("pass", DAY)]:
        match kind:
            case "buy":
                shop.buy(details[0], details[1])
            case "late":
                shop.buy(details[0], 4, days_ago=details[1])
            case "pass":
                shop.pass_on(details[0])
                assert shop.world.rows() == shop.expected()
            case "jump":
                for seconds in (details[0], -details[0]):
                    shop.clock.jump(seconds)
                    shop.clock.advance(2.0)
                    shop.pass_on(0)
                    shop.ticked.clear()
                assert shop.world.rows() == shop.expected()
            case _:
                shop.restart()
        assert set(shop.ticked.values()) <= {1}


@pytest.mark.parametrize(
    ("was", "clock", "taken"),
    [(0, 5, 5), (5, 5, 5), (5, 6, 6), (6, 5, 6), (7, 5, 5), (900, 5, 5), (5, 900, 900)],
)
def test_a_day_does_not_go_back_by_one(was: int, clock: int, taken: int) -> None:
    """Clocks that differ around midnight make no day come twice; worse is believed."""
    assert day_to_take(was, clock) == taken


def test_days_begin_where_the_calendar_says() -> None:
    """Of 23 and of 25 hours, and where no midnight exists."""
    spring, autumn = (
        (datetime(2026, month, day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
        for month, day in ((3, 29), (10, 25))
    )
    for day, hours in ((spring, 23), (autumn, 25), (autumn + 1, 24)):
        begin, end = (begins_at(n, "Europe/Berlin") for n in (day, day + 1))
        assert end - begin == hours * 3_600
        for moment in (begin, (begin + end) / 2, end - 1):
            assert day_of(moment, "Europe/Berlin") == day
    gone = (datetime(2026, 4, 24, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert day_of(begins_at(gone, "Africa/Cairo") + 3_600, "Africa/Cairo") == gone


def test_who_buys_nothing_for_long_is_deleted() -> None:
    """A tombstone for a visitor without events, by the clock of the records alone."""
    shop = Shop({"orders": {"aggregate": "count"}}, expire_days=3)
    shop.buy("ann", 1)
    shop.buy("bob", 1)
    shop.pass_on(4 * DAY)
    assert shop.world.profiles().keys() == {"ann", "bob"}  # no record says so yet
    for _ in range(ENOUGH):
        shop.buy("bob", 1)
    assert shop.pass_on(DAY) == 1
    assert shop.world.profiles().keys() == {"bob"}
    assert shop.pass_on(DAY) == 0
    shop.buy("ann", 1)
    assert shop.world.profiles()["ann"]["orders"]["total"] == 1
    assert shop.world.profiles()["ann"]["as_of_day"] == 0


class FullDisk(MemoryStore):
    """A store that takes so many commits more."""

    left = 10**6

    def commit(self, changes: Changes) -> None:
        """Put one transaction's changes, or refuse."""
        self.left -= 1
        if self.left < 0:
            raise PartitionHalt("store_write_failed")
        super().commit(changes)


def test_a_day_that_a_store_refuses_halts_its_partition_alone() -> None:
    """The clock has gone back, and the disk is full."""
    shop = Shop()
    full = FullDisk()
    shop.world.open(0, full)
    shop.world.open(1, MemoryStore())
    shop.daily.give_days(shop.world.partitions.values())
    shop.clock.jump(-3 * DAY)
    full.left = 0
    halts = shop.daily.give_days(shop.world.partitions.values())
    assert {n: halt.reason for n, halt in halts.items()} == {0: "store_write_failed"}
    assert shop.world.partitions[1].day == START - 3


def test_a_half_made_agenda_is_not_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever comes back to it makes it anew: every window slides."""
    monkeypatch.setattr(agenda, "PAGE", 1)
    shop = Shop()
    store = FullDisk()
    shop.world.open(0, store)
    for visitor in "abc":
        shop.buy(visitor, 1)
    shop.world.values()  # flushes
    shop.agenda.settle(cast("PartitionStore", store))
    whole = store.agenda(b"", b"\xff", 10)
    assert len(whole) == 3
    store.left = 1
    with pytest.raises(PartitionHalt):
        shop.agenda.make_anew(cast("PartitionStore", store))
    store.left = 10
    shop.agenda.settle(cast("PartitionStore", store))
    assert store.agenda(b"", b"\xff", 10) == whole
