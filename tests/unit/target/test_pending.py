"""Pending rows: the latest per visitor, one batch per visitor, and the commit rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from consumer.target.micro_batch import KEYS, Limits, Sealed, frame
from consumer.target.offsets import Span
from consumer.target.pending import Pending

LIMITS = Limits(
    max_rows=100, most_rows=150, max_bytes=10_000, max_age=30.0, capacity=100_000
)
HEADER = 10


def rows(partition: int, *records: tuple[int, str], size: int = 8) -> pl.DataFrame:
    """Make rows of (offset, visitor); each line tells both and is `size` bytes long."""
    return frame(
        pa.array([visitor for _, visitor in records], pa.string()),
        partition,
        np.array([offset for offset, _ in records], np.int64),
        np.array([offset * 1_000 for offset, _ in records], np.int64),
        pa.array(
            [
                f"{visitor},{offset}\n".rjust(size, "0").encode()
                for offset, visitor in records
            ],
            pa.large_binary(),
        ),
    )


def lines(sealed: Sealed) -> list[str]:
    """Return a batch's rows as text."""
    return [line.decode().strip().lstrip("0") for line in sealed.rows.to_pylist()]


def seal(pending: Pending, now: float = 0.0) -> Sealed:
    """Seal whatever can be sent."""
    sealed = pending.seal(now, at_once=True)
    assert sealed is not None
    return sealed


def test_only_the_latest_row_of_a_visitor_is_sent() -> None:
    """Superseded rows are passed by the commit once the newer one is accepted."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b"), (2, "a")), {0: 3}, 0.0)
    assert pending.next_offsets() == {0: 1}
    sealed = seal(pending)
    assert lines(sealed) == ["a,2", "b,1"]
    pending.accepted(sealed.number)
    assert pending.next_offsets() == {0: 3}


def test_a_visitor_in_a_batch_is_held_back_and_its_waiting_row_replaced() -> None:
    """The newest row goes out when the batch before it has ended."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a")), {0: 1}, 0.0)
    first = seal(pending)
    pending.add(rows(0, (1, "a")), {0: 2}, 0.0)
    pending.accepted(first.number)
    assert pending.seal(100.0) is None
    pending.add(rows(0, (2, "a")), {0: 3}, 100.0)
    assert pending.seal(200.0) is None
    assert pending.next_offsets() == {0: 2}
    pending.ended(first.number, 200.0)
    assert lines(seal(pending)) == ["a,2"]


def test_a_batch_is_sealed_by_rows_bytes_or_age() -> None:
    """The first limit reached seals; before, nothing is sealed."""
    by_rows = Pending(LIMITS, HEADER)
    by_rows.add(rows(0, *((n, f"v{n}") for n in range(99))), {0: 99}, 0.0)
    assert by_rows.seal(1.0) is None
    by_rows.add(rows(0, (99, "v99")), {0: 100}, 0.0)
    sealed = by_rows.seal(1.0)
    assert sealed is not None
    assert len(sealed) == LIMITS.max_rows
    by_bytes = Pending(LIMITS, HEADER)
    big = [(n, f"v{n}") for n in range(4)]
    by_bytes.add(rows(0, *big, size=3_000), {0: 4}, 0.0)
    sealed = by_bytes.seal(1.0)
    assert sealed is not None
    assert len(sealed) == 3
    grown = Pending(LIMITS, HEADER)  # it was due, and had no call
    grown.add(rows(0, *((n, f"v{n}") for n in range(170))), {0: 170}, 0.0)
    sealed = grown.seal(1.0)
    assert sealed is not None
    assert len(sealed) == LIMITS.most_rows
    by_age = Pending(LIMITS, HEADER)
    by_age.add(rows(0, (0, "a")), {0: 1}, 5.0)
    assert by_age.due_in(20.0) == 15.0
    assert by_age.seal(34.9) is None
    assert by_age.seal(35.0) is not None


def test_a_row_larger_than_a_file_may_grow_goes_alone() -> None:
    """A small `max_bytes` never stops a row."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b"), size=20_000), {0: 2}, 0.0)
    assert len(seal(pending)) == 1


def test_waiting_rows_are_bounded_in_bytes() -> None:
    """Full is told apart from replaced: only distinct visitors fill it."""
    pending = Pending(LIMITS, HEADER)
    for number in range(500):
        pending.add(rows(0, (number, "a"), size=900), {0: number + 1}, 0.0)
    assert not pending.full
    for number in range(500, 620):
        pending.add(rows(0, (number, f"v{number}"), size=900), {0: number + 1}, 0.0)
    assert pending.full


def test_rows_within_an_exact_span_of_a_held_batch_are_not_sent_again() -> None:
    """Read again after a restart, they count as accepted and supersede older ones."""
    pending = Pending(LIMITS, HEADER)
    keys = rows(0, (3, "a"), (4, "b")).select(KEYS)
    number = pending.hold(keys, {0: Span(2, ((3, 4),))})
    pending.add(rows(0, (2, "a"), (3, "a"), (4, "b"), (5, "c")), {0: 6}, 0.0)
    assert pending.next_offsets() == {0: 5}
    assert lines(seal(pending)) == ["c,5"]
    pending.add(rows(0, (6, "a")), {0: 7}, 0.0)
    pending.ended(number, 0.0)
    assert lines(seal(pending)) == ["a,6"]


def test_a_row_to_be_sent_again_gives_way_to_a_newer_one() -> None:
    """Neither a waiting row nor one still to be read is overtaken."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b"), (2, "c")), {0: 3}, 0.0)
    first = seal(pending)
    pending.accepted(first.number)
    pending.add(rows(0, (3, "a")), {0: 4}, 0.0)
    read_again = rows(0, (0, "a"), (1, "b"), (9, "c"))
    pending.again(read_again, first.number, 0.0)
    pending.ended(first.number, 0.0)
    assert pending.open_origins() == {first.number: 1}
    assert pending.next_offsets() == {0: 3}
    second = seal(pending)
    assert lines(second) == ["b,1", "a,3"] or lines(second) == ["a,3", "b,1"]
    assert second.origins == {first.number}
    pending.accepted(second.number)
    assert pending.open_origins() == {}
    assert pending.next_offsets() == {0: 4}


def test_a_dropped_partition_is_forgotten_the_others_stay() -> None:
    """Rows of a partition that left are neither sent nor committed."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b")), {0: 2}, 0.0)
    pending.add(rows(1, (0, "c")), {1: 1}, 0.0)
    under_way = seal(pending)
    pending.add(rows(0, (2, "d")), {0: 3}, 0.0)
    pending.drop([0])
    assert pending.next_offsets() == {1: 0}
    pending.returned(under_way.number, 0.0)
    assert lines(seal(pending)) == ["c,0"]


def test_a_refused_batch_is_divided_by_partition_then_in_halves() -> None:
    """Every row stays under way in exactly one part; one row cannot be divided."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b"), (2, "c")), {0: 3}, 0.0)
    pending.add(rows(1, (0, "d")), {1: 1}, 0.0)
    first, second = pending.divide(seal(pending).number)
    assert (lines(first), lines(second)) == (["a,0", "b,1", "c,2"], ["d,0"])
    left, right = pending.divide(first.number)
    assert (lines(left), lines(right)) == (["a,0"], ["b,1", "c,2"])
    assert pending.divide(second.number) == []
    assert pending.next_offsets() == {0: 0, 1: 0}
    assert pending.seal(100.0) is None


def test_a_row_sent_anew_gives_way_to_a_newer_one_wherever_that_is() -> None:
    """A newer row of the visitor may wait, be under way, or be accepted already."""
    pending = Pending(LIMITS, HEADER)
    assert pending.watch(0) is None, "nothing is known of the partition yet"
    pending.add(rows(0, (0, "a"), (1, "b"), (2, "c"), (3, "d")), {0: 4}, 0.0)
    first = seal(pending)
    pending.accepted(first.number)
    pending.ended(first.number, 0.0)
    assert pending.watch(0) == 4
    pending.add(rows(0, (4, "a")), {0: 5}, 0.0)
    second = seal(pending)
    pending.accepted(second.number)
    pending.ended(second.number, 0.0)
    pending.add(rows(0, (5, "b")), {0: 6}, 0.0)
    third = seal(pending)
    pending.add(rows(0, (6, "c")), {0: 7}, 0.0)
    stored = rows(0, (0, "a"), (1, "b"), (2, "c"), (3, "d"))
    assert pending.offer(0, stored, 77, 0.0) == 1
    pending.accepted(third.number)
    pending.ended(third.number, 0.0)
    assert lines(seal(pending)) == ["c,6", "d,3"]


def test_a_row_that_comes_after_one_sent_anew_follows_it() -> None:
    """The newer row takes the waiting one's place, or waits for it to end."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a"), (1, "b")), {0: 2}, 0.0)
    pending.accepted(seal(pending).number)
    pending.ended(1, 0.0)
    pending.watch(0)
    pending.offer(0, rows(0, (0, "a")), 77, 0.0)
    under_way = seal(pending)
    pending.offer(0, rows(0, (1, "b")), 78, 0.0)
    assert pending.open_origins() == {77: 1, 78: 1}
    pending.add(rows(0, (2, "a"), (3, "b")), {0: 4}, 0.0)
    assert pending.open_origins() == {77: 1}
    assert lines(seal(pending)) == ["b,3"]
    pending.accepted(under_way.number)
    pending.ended(under_way.number, 0.0)
    assert lines(seal(pending)) == ["a,2"]
    assert pending.next_offsets() == {0: 2}, "rows sent anew bound no commit"


def test_a_partition_that_left_is_watched_no_longer() -> None:
    """Its next owner begins with what it takes in itself."""
    pending = Pending(LIMITS, HEADER)
    pending.add(rows(0, (0, "a")), {0: 1}, 0.0)
    pending.watch(0)
    pending.drop([0])
    assert pending.watch(0) is None


@dataclass
class Flight:
    """What the model knows of a batch: its visitors' offsets, and whether accepted."""

    offsets: dict[str, int]
    accepted: bool = False


@dataclass
class Log:
    """One partition: (offset, visitor) of each record, None for a tombstone."""

    records: list[tuple[int, str | None]] = field(default_factory=list)
    end: int = 0


class Delivery(RuleBasedStateMachine):
    """Rows, batches and commits in any order, against plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.pending = Pending(LIMITS, HEADER)
        self.logs = [Log(), Log()]
        self.flights: dict[int, Flight] = {}
        self.accepted: dict[str, int] = {}
        self.now = 0.0

    @rule(
        partition=st.integers(0, 1),
        visitors=st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=8),
        skip=st.integers(0, 2),
    )
    def add(self, partition: int, visitors: list[int | None], skip: int) -> None:
        """Write records to a partition and hand them over."""
        log = self.logs[partition]
        log.end += skip  # aborted records and markers leave gaps
        new = []
        for visitor in visitors:
            name = None if visitor is None else f"{partition}-{visitor}"
            new.append((log.end, name))
            log.end += 1
        log.records += new
        kept = [(offset, name) for offset, name in new if name is not None]
        self.pending.add(rows(partition, *kept), {partition: log.end}, self.now)

    @rule(at_once=st.booleans(), seconds=st.integers(0, 40))
    def seal(self, at_once: bool, seconds: int) -> None:  # noqa: FBT001 - drawn
        """Let time pass and seal what is due."""
        self.now += seconds
        sealed = self.pending.seal(self.now, at_once=at_once)
        if sealed is not None:
            self._watch(sealed)

    @precondition(lambda self: any(not f.accepted for f in self.flights.values()))
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        """Let Target take a batch; never an older row after a newer one."""
        number = self._draw(data, accepted=False)
        flight = self.flights[number]
        flight.accepted = True
        for visitor, offset in flight.offsets.items():
            assert self.accepted.get(visitor, -1) < offset
            self.accepted[visitor] = offset
        self.pending.accepted(number)

    @precondition(lambda self: any(not f.accepted for f in self.flights.values()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Put a batch's rows back."""
        number = self._draw(data, accepted=False)
        del self.flights[number]
        self.pending.returned(number, self.now)

    @precondition(lambda self: any(not f.accepted for f in self.flights.values()))
    @rule(data=st.data())
    def divide(self, data: st.DataObject) -> None:
        """Divide a refused batch; no row is lost or doubled."""
        number = self._draw(data, accepted=False)
        parts = self.pending.divide(number)
        if parts:
            before = self.flights.pop(number).offsets
            for part in parts:
                self._watch(part)
            after = [self.flights[part.number].offsets for part in parts]
            assert {v: o for offsets in after for v, o in offsets.items()} == before

    @precondition(lambda self: any(f.accepted for f in self.flights.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """End an accepted batch."""
        number = self._draw(data, accepted=True)
        del self.flights[number]
        self.pending.ended(number, self.now)

    @rule()
    def finish(self) -> None:
        """Once everything is accepted the commit reaches the end of each partition."""
        for number, flight in list(self.flights.items()):
            if not flight.accepted:
                self.accepted |= flight.offsets
                self.pending.accepted(number)
            self.pending.ended(number, self.now)
        self.flights.clear()
        while (sealed := self.pending.seal(self.now, at_once=True)) is not None:
            self._watch(sealed)
            self.accepted |= self.flights.pop(sealed.number).offsets
            self.pending.accepted(sealed.number)
            self.pending.ended(sealed.number, self.now)
        ends = {n: log.end for n, log in enumerate(self.logs) if log.records}
        assert self.pending.next_offsets() == ends
        for log in self.logs:
            for offset, visitor in log.records:
                assert visitor is None or self.accepted[visitor] >= offset

    @invariant()
    def nothing_unaccounted_is_passed(self) -> None:
        """A passed record is accepted, or its visitor's newest one lies further on."""
        for partition, passed in self.pending.next_offsets().items():
            newest = {v: o for o, v in self.logs[partition].records if v is not None}
            for offset, visitor in self.logs[partition].records:
                if offset < passed and visitor is not None:
                    assert (
                        self.accepted.get(visitor, -1) >= offset
                        or newest[visitor] >= passed
                    )

    def _watch(self, sealed: Sealed) -> None:
        offsets = dict(zip(sealed.keys["visitor"], sealed.keys["offset"], strict=True))
        assert lines(sealed) == [f"{v},{o}".lstrip("0") for v, o in offsets.items()]
        busy = {v for flight in self.flights.values() for v in flight.offsets}
        assert busy.isdisjoint(offsets), "a visitor has one upload in flight"
        for partition, span in sealed.spans.items():
            inside = sealed.keys.filter(pl.col("partition") == partition)["offset"]
            assert span.holds(inside.to_numpy()).all()
            beside = np.array(sorted(self._live(partition) - {*inside}), np.int64)
            assert not span.holds(beside).any(), "another batch's row is left alone"
        self.flights[sealed.number] = Flight(offsets)

    def _live(self, partition: int) -> set[int]:
        """Return the offsets of a partition's rows that are still to be accepted."""
        newest = {v: o for o, v in self.logs[partition].records if v is not None}
        live = {o for v, o in newest.items() if self.accepted.get(v, -1) < o}
        for flight in self.flights.values():
            if not flight.accepted:
                live |= {
                    o
                    for v, o in flight.offsets.items()
                    if v.startswith(f"{partition}-")
                }
        return live

    def _draw(self, data: st.DataObject, *, accepted: bool) -> int:
        return data.draw(
            st.sampled_from(
                [n for n, flight in self.flights.items() if flight.accepted == accepted]
            )
        )


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
