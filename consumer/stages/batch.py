"""One batch of records to everything that one transaction writes; no I/O to Kafka.

Enters: records and the open partitions they belong to. Leaves: a `Prepared`: the
changed profiles, state records, dead letters and verdicts. Reads the stores, writes
nothing: whatever happens before the commit, dropping a `Prepared` undoes it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from consumer import packed
from consumer.errors import PartitionHalt
from consumer.frames import DeadLetter, Outcome, Verdicts
from consumer.profiles import state_records
from consumer.profiles.agenda import Agenda, to_entries
from consumer.profiles.buffer import Buffer, Scratch
from consumer.profiles.fold import Fold, Slots, Times, assign_slots, hash64, hash128
from consumer.profiles.merge import Merger, Stored
from consumer.profiles.overflow import (
    ever_overfull,
    first_misfits,
    may_overflow,
    refused_events,
)
from consumer.profiles.seen import Ids, SeenIds
from consumer.profiles.store import Changes, Position
from consumer.profiles.stream_time import read
from consumer.profiles.table import Keys, Pairs
from consumer.profiles.warm import warm
from consumer.stages.held import waiting
from consumer.stages.outgoing import Outgoing
from consumer.stages.too_many import count_dead_letters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from consumer.events.dead_letter_limits import DeadLetterLimits
    from consumer.events.decode import Decoder
    from consumer.frames import Events, Records, Tally
    from consumer.plan.compile import Plan
    from consumer.profiles.columns import Ints
    from consumer.profiles.merge import Merged
    from consumer.profiles.record import ProfileCodec
    from consumer.profiles.stream_time import StreamClock
    from consumer.profiles.table import Found
    from consumer.profiles.write_back import WriteBackStore
    from consumer.stages.copies import Copies
    from consumer.stages.joining import Joining

CONFLICT = "conflict", "The first event with this id says something else; it stays."
NEVER_ERASED = -(2**62)
KeyValue = tuple[bytes | None, bytes | None]


@dataclass(slots=True)
class OpenPartition:
    """A partition that we own and have restored: its store, ids seen, position.

    `day` is what is taken for today, 0 without windows; `suppressed` has when visitors
    were erased, in milliseconds, by their key. While there is a `joining`,
    its profiles are still to be joined to what a rebuild has computed.
    """

    number: int
    store: WriteBackStore
    seen: SeenIds | None
    position: Position
    day: int = 0
    suppressed: dict[bytes, int] = field(default_factory=dict)
    joining: Joining | None = None

    def commit(self, changes: Changes, now: float) -> None:
        """Take what a transaction committed; `now` is on a monotonic clock.

        Raises `PartitionHalt` where the store cannot be written.
        """
        self.store.commit(changes, now)
        self.position = changes.position or self.position
        for key, at in changes.suppressed.items():
            self.suppressed.pop(key, None)
            if at is not None:
                self.suppressed[key] = at
        if self.seen is None:
            return
        for (bucket, _), ids in changes.seen.items():
            self.seen.remember({bucket: ids})
        if changes.forgotten:
            oldest = self.seen.oldest(self.position.stream_time)
            self.seen.forget(oldest)
            self.store.drop_buckets_before(oldest)


@dataclass(slots=True)
class PartitionOutput:
    """What a transaction writes for one partition."""

    profiles: Collection[KeyValue] = ()
    state: list[KeyValue] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)


@dataclass(slots=True)
class Prepared:
    """A batch, worked: what each record became and what to write.

    It is good until the next batch is prepared: commit it, or drop it, before.
    `erased` counts events that were filtered because their visitor was erased since.
    `records` may be fewer than entered: those of a halted partition are left out, as
    if they had not been read. So are those from where a partition has to wait: `waits`
    says for what.
    """

    records: Records
    verdicts: Verdicts
    outputs: dict[int, PartitionOutput]
    halts: dict[int, PartitionHalt]
    oldest_event_time: float | None
    seconds: dict[str, float]
    waits: dict[int, str] = field(default_factory=dict)
    erased: int = 0

    @property
    def profile_bytes(self) -> int:
        """The bytes of all profiles that are to be written."""
        written = (output.changes.profiles for output in self.outputs.values())
        return sum(one.nbytes for one in written if isinstance(one, Pairs))


class BatchWork:
    """Decode, deduplicate, fold and encode, with the configuration's plan."""

    def __init__(  # noqa: PLR0913 - what a configuration says
        self,
        plan: Plan,
        decoder: Decoder,
        codec: ProfileCodec,
        *,
        generation: int,
        largest_record: int,
        limits: DeadLetterLimits | None = None,
        agenda: Agenda | None = None,
        max_ahead: float | None = None,
        copies: Copies | None = None,
    ) -> None:
        """Refuse profiles whose record would exceed `largest_record` bytes.

        A partition with more dead letters than `limits` allow halts. Events that lie
        more than `max_ahead` seconds after their record are refused. `copies` are not
        counted: for who judges the originals anew.
        """
        warm()
        self._max_ahead = max_ahead
        self._decoder = decoder
        self._codec = codec
        self._generation = generation
        self._fold = Fold(plan, generation)
        self._merger = Merger(plan, codec, self._fold)
        self._gathered = Scratch()
        self._windows = plan.zone is not None
        self._agenda = agenda or Agenda(plan, codec)
        (self._neutral,) = codec.encode(self._fold.neutral(codec.schema))
        self._keyed = [a for a in plan.attributes if a.aggregate in {"top", "distinct"}]
        self._largest = largest_record
        self._limits = limits
        self._copies = copies

    def begin(self, generation: int) -> None:
        """Write profiles of another generation from now on."""
        self._generation = generation
        self._fold.begin(generation)
        (self._neutral,) = self._codec.encode(self._fold.neutral(self._codec.schema))

    def join(self, partition: OpenPartition, most: int) -> PartitionOutput | None:
        """Join the next profiles of a partition to what a rebuild has computed.

        Looks at up to `most`; those that are joined already are left out, so that there
        may be none to write. None: there is nothing left to join. Raises
        `PartitionHalt` for a profile that its topic would refuse.
        """
        joining = partition.joining
        if joining is None or not (keys := joining.walk(partition.store, most)):
            return None
        rows, joined = self._joined(partition, keys, partition.store.get_many(keys))
        if self._windows:  # they may be new: what is written now ends with today
            place = joined.schema.get_field_index("as_of_day")
            today = pa.array([partition.day] * len(joined), joined.field(place).type)
            joined = joined.set_column(place, joined.field(place), today)
        encoded = self._codec.encode(self._fold.ours(joined, versions=1))
        visitors = pc.cast(joined.column("visitor"), pa.binary()).to_pylist()
        for visitor, value in zip(visitors, encoded, strict=True):
            if len(value) > self._largest:
                raise _too_large_to_join(visitor, len(value), self._largest)
        at = [keys[row] for row in rows]
        return PartitionOutput(
            profiles=list(zip(visitors, encoded, strict=True)),
            changes=Changes(
                profiles=list(zip(at, encoded, strict=True)),
                agenda=self._agenda.entries(at, encoded) if self._agenda else (),
            ),
        )

    def prepare(
        self, records: Records, partitions: Mapping[int, OpenPartition]
    ) -> Prepared:
        """Work a batch. `partitions` holds every partition that occurs in it.

        What it prepared before is void.
        """
        watch = Stopwatch()
        verdicts = Verdicts.of(len(records))
        with watch.step("decode"):
            events = self._decoder.decode(records, verdicts)
        if verdicts.held:
            waits, left = waiting(records, verdicts)
            rest = self.prepare(records.take(np.flatnonzero(~left)), partitions)
            rest.waits.update(waits)
            return rest
        if self._copies is not None:
            events = self._copies.leave_out(records, events, verdicts)
        erased = 0
        halts: dict[int, PartitionHalt] = {}
        if events is not None and (halts := _foreign_keys(records, events)):
            staying = ~np.isin(records.partitions, list(halts))
            rest = self.prepare(records.take(np.flatnonzero(staying)), partitions)
            rest.halts.update(halts)
            return rest
        if events is not None:
            events = self._from_the_future(events, records, verdicts)
            events, erased = _without_erased(events, records, partitions, verdicts)
        times = _read_times(records, partitions)
        outputs = {
            number: PartitionOutput()
            for number in np.unique(records.partitions).tolist()
        }
        folded = None
        if events is not None and len(events):
            folded = self._folded(
                events,
                records,
                times,
                partitions,
                verdicts=verdicts,
                outputs=outputs,
                watch=watch,
            )
        before = {n: partitions[n].position.tally for n in outputs}
        tallies, halts, cut = count_dead_letters(
            records, verdicts, before, self._limits
        )
        if halts:
            # What lies before is written all the same: it shows what went wrong.
            rest = self.prepare(records.take(np.flatnonzero(~cut)), partitions)
            rest.halts.update(halts)
            return rest
        self._close(records, times, partitions, outputs, folded, tallies=tallies)
        oldest = None
        if folded is not None and len(folded.events):
            oldest = float(records.timestamps[folded.events.records].min()) / 1000
        return Prepared(
            records, verdicts, outputs, halts, oldest, watch.seconds, erased=erased
        )

    def _from_the_future(
        self, events: Events, records: Records, verdicts: Verdicts
    ) -> Events:
        """Refuse events that say they happen long after they were recorded.

        Against the record's own timestamp, so that a replay decides alike.
        """
        if self._max_ahead is None:
            return events
        recorded = records.timestamps[events.records]
        times = events.identity["event_time"].to_numpy()
        ahead = times // 1_000 - recorded > self._max_ahead * 1_000
        ahead &= recorded > 0  # of records without a timestamp nothing is known
        for row in events.records[ahead].tolist():
            reason = "from_the_future"
            verdicts.refuse(DeadLetter(row, reason, SENTENCES[reason]))
        return events.where(~ahead)

    def _folded(  # noqa: PLR0913 - the working set of one batch
        self,
        events: Events,
        records: Records,
        times: RecordTimes,
        partitions: Mapping[int, OpenPartition],
        *,
        verdicts: Verdicts,
        outputs: dict[int, PartitionOutput],
        watch: Stopwatch,
    ) -> Folded:
        """Fold, until no event is refused any more; nearly always that is once.

        A refused event must leave no trace, neither in a profile nor as an id seen,
        so what is left is deduplicated and folded anew.
        """
        while True:
            with watch.step("deduplicate"):
                ids, repeated, other = _duplicates(events, records, times, partitions)
            kept = events.where(~repeated)
            offsets = records.offsets[kept.records]
            with watch.step("map"):
                slots = assign_slots(
                    kept.identity["visitor"], records.partitions[kept.records]
                )
            with watch.step("gather"):
                stored, joined = self._stored(slots, partitions)
            replayed = offsets <= self._merger.reached(stored)[slots.of_event]
            if replayed.any():
                repeats = np.isin(events.records, kept.records[replayed])
                verdicts.mark(events.records[repeats], Outcome.DUPLICATE)
                events = events.where(~repeats)
                continue
            with watch.step("fold"):
                moment = Times(
                    times.now[kept.records],
                    times.latest[kept.records],
                    self._today(slots, partitions),
                )
                merged = self._merger.merge(slots, kept, offsets, stored, moment)
            refused, reason = self._overfull(merged, kept, slots, stored)
            if not refused.any():
                large = merged.records.sizes > self._largest
                reason = "profile_too_large"
                if large.any():
                    refused = self._misfits(large, kept, slots, stored, moment)
            if not refused.any():
                break
            undecided = _after_a_repeat(events, repeated, kept, refused, ids)
            if (refused & ~undecided).any():
                refused &= ~undecided
            for row in kept.records[refused].tolist():
                letter = DeadLetter(row, reason, SENTENCES[reason])
                verdicts.refuse(letter)
            events = events.where(~np.isin(events.records, kept.records[refused]))
        verdicts.mark(events.records[repeated], Outcome.DUPLICATE)
        verdicts.conflicts = events.records[other].tolist()
        with watch.step("encode"):
            _spread(slots, merged.records, outputs)
            self._note_days(slots, merged, outputs, joined)
        return Folded(kept, ids.where(~repeated))

    def _note_days(
        self,
        slots: Slots,
        merged: Merged,
        outputs: dict[int, PartitionOutput],
        joined: Mapping[int, list[bytes]],
    ) -> None:
        """Give outputs their agenda, with that of what was `joined` on the way."""
        if not self._agenda or merged.columns is None or not len(slots):
            return
        days = self._agenda.days(merged.columns)
        for number, part in _runs(slots.partitions):
            agenda = to_entries(days[part], slots.keys[part].to_list())
            agenda = sorted({*agenda, *joined.get(number, ())})
            changes = outputs[number].changes
            outputs[number].changes = replace(changes, agenda=agenda)

    def _today(self, slots: Slots, partitions: Mapping[int, OpenPartition]) -> Ints:
        """Give the day that each slot's windows end with."""
        today = np.zeros(len(slots), np.int64)
        if self._windows:
            for number, part in _runs(slots.partitions):
                today[part] = partitions[number].day
        return today

    def _misfits(
        self,
        large: NDArray[np.bool_],
        events: Events,
        slots: Slots,
        stored: Stored,
        moment: Times,
    ) -> NDArray[np.bool_]:
        """Flag the events from the first that makes a profile too large."""

        def fits(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
            merged = self._merger.merge(
                replace(slots, of_event=slots.of_event[kept]),
                events.where(kept),
                np.zeros(int(kept.sum()), np.int64),
                stored,
                moment.where(kept),
            )
            return merged.records.sizes <= self._largest

        return first_misfits(slots.of_event, large, fits)

    def _stored(
        self, slots: Slots, partitions: Mapping[int, OpenPartition]
    ) -> tuple[Stored, dict[int, list[bytes]]]:
        """Gather the stored profiles, a record a slot; new visitors' is neutral.

        Also gives, by partition, the agenda of what was joined on the way.
        """
        found: list[Buffer | Found] = []
        agenda: dict[int, list[bytes]] = {}
        for number, part in _runs(slots.partitions):
            partition = partitions[number]
            mine: Buffer | Found = partition.store.gather(
                slots.keys[part], self._neutral
            )
            if partition.joining is not None:
                keys, records = slots.keys[part].to_list(), mine.to_list()
                rows, joined = self._joined(partition, keys, records)
                ours = self._codec.encode(self._fold.ours(joined, versions=0))
                for row, record in zip(rows, ours, strict=True):
                    records[row] = record
                if self._agenda and rows:
                    at = [keys[row] for row in rows]
                    agenda[number] = self._agenda.entries(at, ours)
                mine = Buffer.of(records)
            found.append(mine)
        gathered = Buffer.concat(found, self._gathered)
        return Stored(gathered, self._codec, self._fold), agenda

    def _joined(
        self,
        partition: OpenPartition,
        keys: Sequence[bytes],
        found: Sequence[bytes | None],
    ) -> tuple[list[int], pa.RecordBatch]:
        """Join the profiles that are not; gives their rows, and these alone.

        A visitor without a profile whose purchases are long ago has expired: what the
        rebuild knows of them stays out, and so does what it knows of the erased.
        """
        joining, neutral = partition.joining, self._neutral
        stored = self._codec.decode([neutral if one is None else one for one in found])
        if joining is None:
            return [], stored.slice(0, 0)
        rows = np.flatnonzero(joining.unjoined(stored))
        some = stored.take(pa.array(rows))
        at = [keys[row] for row in rows.tolist()]
        erased = np.fromiter((key in partition.suppressed for key in at), bool, len(at))
        joined = joining.join(some, at, erased)
        new = some.column("version").to_numpy() == 0
        expired = self._agenda.expired(joined, partition.position.stream_time)
        staying = ~(new & (expired | erased))
        return rows[staying].tolist(), joined.filter(pa.array(staying))

    def _overfull(
        self, merged: Merged, events: Events, slots: Slots, stored: Stored
    ) -> tuple[NDArray[np.bool_], str]:
        """Flag the events that would give a visitor more keys than `max_keys`."""
        overfull = np.zeros(len(slots), bool)
        for plan in self._keyed:
            held, kept = merged.keys[plan.name]
            overfull |= kept > plan.max_keys
            if plan.weight is not None and may_overflow(
                plan, events, slots.of_event, held
            ):
                # Weights may cancel out: too many keys in between, few in the end.
                overfull |= ever_overfull(plan, events, slots.of_event, stored.columns)
        if not overfull.any():
            return np.zeros(len(events), bool), "too_many_keys"
        refused = refused_events(
            self._keyed, events, slots.of_event, overfull, stored.columns
        )
        return refused, "too_many_keys"

    def _close(  # noqa: PLR0913 - the working set of one batch
        self,
        records: Records,
        times: RecordTimes,
        partitions: Mapping[int, OpenPartition],
        outputs: dict[int, PartitionOutput],
        folded: Folded | None,
        *,
        tallies: Mapping[int, Tally],
    ) -> None:
        """Add to each partition's output its position and the ids seen."""
        for number, output in outputs.items():
            partition = partitions[number]
            rows = np.flatnonzero(records.partitions == number)
            position = replace(
                partition.position,
                next_offset=int(records.offsets[rows[-1]]) + 1,
                stream_time=times.clocks[number].time,
                doubts=times.clocks[number].doubts,
                doubted=times.clocks[number].doubted,
                generation=self._generation,
                tally=tallies.get(number, partition.position.tally),
                day=partition.day,
            )
            seen: dict[tuple[int, int], Ids] = {}
            forgotten: list[tuple[int, int]] = []
            if partition.seen is not None:
                if folded is not None:
                    at = folded.events.records
                    mine = records.partitions[at] == number
                    seen = state_records.chunked(
                        folded.ids.where(mine),
                        partition.seen.bucket_of(times.filed[at[mine]]),
                        records.offsets[at[mine]],
                    )
                oldest = partition.seen.oldest(position.stream_time)
                forgotten = partition.store.chunks_before(oldest)
            output.state.extend(state_records.to_records(position, seen, forgotten))
            output.changes = replace(
                output.changes, seen=seen, forgotten=forgotten, position=position
            )


@dataclass(frozen=True, slots=True)
class Folded:
    """The events that were folded, with their id hashes."""

    events: Events
    ids: Ids


class Stopwatch:
    """Adds up wall seconds by step."""

    def __init__(self) -> None:
        """Start with no steps."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + taken


SENTENCES = {
    "from_the_future": "The event's time lies further behind that of its record than "
    "[purchases] max_ahead.",
    "too_many_keys": "The event would give an attribute more keys than max_keys.",
    "profile_too_large": "The visitor's profile would exceed the largest record that "
    "the topic of profiles takes.",
}


def _too_large_to_join(visitor: bytes, size: int, most: int) -> PartitionHalt:
    return PartitionHalt(
        "profile_too_large",
        "Raise max.message.bytes of the topic of profiles, then restart.",
        what=f"With its rebuilt attributes a profile has {size} bytes, the topic of "
        f"profiles takes {most}; its key ends in {visitor[-2:].hex()}.",
    )


def _foreign_keys(records: Records, events: Events) -> dict[int, PartitionHalt]:
    """Find partitions that hold a record whose key is not its visitor."""
    keys = packed.to_arrow(packed.taken(records.keys, events.records))
    expected = events.identity["key"].to_arrow().cast(pa.large_binary())
    alike = pc.equal(keys, expected).fill_null(fill_value=False)
    if pc.all(alike).as_py():
        return {}
    halts = {}
    for event in np.flatnonzero(~alike.to_numpy(zero_copy_only=False)).tolist():
        row = int(events.records[event])
        number = int(records.partitions[row])
        if number not in halts:
            halts[number] = PartitionHalt(
                "key_is_not_visitor",
                "Key the topic by visitor, or say how the key is made in [purchases] "
                "key_expression.",
                what=f"The record at partition {number}, offset "
                f"{records.offsets[row]} has a key that is not its visitor.",
            )
    return halts


def _without_erased(
    events: Events,
    records: Records,
    partitions: Mapping[int, OpenPartition],
    verdicts: Verdicts,
) -> tuple[Events, int]:
    """Filter events of erased visitors that had happened by then; how many."""
    gone = np.zeros(len(events), bool)
    numbers = records.partitions[events.records]
    for number in np.unique(numbers).tolist():
        if suppressed := partitions[number].suppressed:
            mine = np.flatnonzero(numbers == number)
            visitors = events.identity["visitor"].gather(pl.Series(mine))
            erased_at = [
                suppressed.get(key, NEVER_ERASED)
                for key in Keys(*hash128(visitors)).to_list()
            ]
            times = events.identity["event_time"].to_numpy()[mine]
            gone[mine] = times // 1_000 <= np.array(erased_at, np.int64)
    if not gone.any():
        return events, 0
    verdicts.mark(events.records[gone], Outcome.FILTERED)
    return events.where(~gone), int(gone.sum())


@dataclass(frozen=True, slots=True)
class RecordTimes:
    """Of each record: stream time, where it is filed, and the latest that it may be.

    And each partition's clock after its last record; see `profiles.stream_time`.
    """

    now: Ints
    filed: Ints
    latest: Ints
    clocks: Mapping[int, StreamClock]


def _read_times(
    records: Records, partitions: Mapping[int, OpenPartition]
) -> RecordTimes:
    now = np.empty(len(records), np.int64)
    filed = np.empty(len(records), np.int64)
    clocks: dict[int, StreamClock] = {}
    for number in np.unique(records.partitions).tolist():
        rows = np.flatnonzero(records.partitions == number)
        found = read(partitions[number].position.clock, records.timestamps[rows])
        now[rows], filed[rows] = found.now, found.filed
        clocks[number] = found.clock
    return RecordTimes(now, filed, np.maximum(now, records.timestamps), clocks)


def _duplicates(
    events: Events,
    records: Records,
    times: RecordTimes,
    partitions: Mapping[int, OpenPartition],
) -> tuple[Ids, NDArray[np.bool_], NDArray[np.bool_]]:
    """Hash the event ids and flag those that repeat one within the horizon.

    Also flags those of them that conflict: they say something else.
    """
    repeated, other = np.zeros(len(events), bool), np.zeros(len(events), bool)
    if all(one.seen is None for one in partitions.values()):
        unknown = np.zeros(len(events), np.uint64)  # nobody asks
        return Ids(unknown, unknown), repeated, other
    hashes = hash128(events.identity["event_id"])
    ids = Ids.of(*hashes, _payloads(events, records))
    numbers = records.partitions[events.records]
    for number in np.unique(numbers).tolist():
        if (seen := partitions[number].seen) is not None:
            mine = np.flatnonzero(numbers == number)
            rows = events.records[mine]
            repeated[mine], other[mine] = seen.duplicates(
                ids.where(mine), times.now[rows], times.filed[rows]
            )
    return ids, repeated, other


def _payloads(events: Events, records: Records) -> NDArray[np.uint64]:
    """Hash the values of the records that are events."""
    return hash64(packed.Packed.of(records.values).take(events.records).to_arrow())


def _after_a_repeat(
    events: Events,
    repeated: NDArray[np.bool_],
    kept: Events,
    refused: NDArray[np.bool_],
    ids: Ids,
) -> NDArray[np.bool_]:
    """Flag kept events that stand behind a repeat of a refused event.

    That repeat is no repeat any more, and may change what comes after it.
    """
    of_refused = ids.where(~repeated).where(refused).sorted()
    again = np.zeros(len(events), bool)
    again[repeated] = ids.where(repeated).among(of_refused)
    if not again.any():
        return again[~repeated]
    behind: NDArray[np.bool_] = kept.records > events.records[again].min()
    return behind


def _spread(slots: Slots, records: Buffer, outputs: dict[int, PartitionOutput]) -> None:
    """Give each partition its profiles, for the topic and for the store."""
    for number, part in _runs(slots.partitions):
        outputs[number].profiles = Outgoing(slots.visitors[part], records[part])
        pairs = Pairs(slots.keys[part], records[part])
        outputs[number].changes = Changes(profiles=pairs)


def _runs(partitions: NDArray[np.int32]) -> Iterator[tuple[int, slice]]:
    """Give each partition of sorted slots with its range of slots."""
    bounds = np.flatnonzero(np.diff(partitions, prepend=-1, append=-1))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield int(partitions[start]), slice(start, end)
