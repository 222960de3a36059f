"""What became of a visitor's events: their partition replayed, by the real path.

Enters: a visitor, its partition, and its stored states. Leaves: each of its events that
is still in the topic with what it became and what it gave to each attribute; and which
attributes of the replayed profile differ from the stored one. If none does, the replay
has told what really happened; otherwise it tells what the present configuration makes
of what is left, and `notes` say why that may be another thing.

The replay is the service's own: decode, deduplicate, fold, with a store of its own in a
temporary folder. Records that are known to be dead letters stay ones, whatever was
mended since; event ids that were seen before the first record come from `state`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from consumer.errors import PartitionHalt
from consumer.events.decode import Decoder
from consumer.events.letters import letters
from consumer.events.mapping import Mapper
from consumer.frames import Outcome, Verdicts
from consumer.kafka.topics import MAX_RECORD_BYTES, RECORD_OVERHEAD, TopicAdmin
from consumer.profiles import state_records
from consumer.profiles.fold import packed_hashes
from consumer.profiles.readable import shown
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import render_attribute
from consumer.profiles.seen import SeenIds, bucket_width
from consumer.profiles.store import Changes, PartitionStore, Position, Tails
from consumer.profiles.write_back import WriteBackStore
from consumer.stages.batch import CONFLICT, BatchWork, OpenPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.frames import Events, Records
    from consumer.plan.attributes import AttributePlan
    from consumer.plan.compile import Plan
    from consumer.profiles.columns import Ints
    from consumer.profiles.seen import Ids
    from consumer.stages.batch import Prepared
    from consumer.stages.explain import Explainer

MOST_EVENTS: Final = 10_000
CACHE_BYTES: Final = 256_000_000
NOT_READ: Final = "not_read_yet"


@dataclass(frozen=True, slots=True)
class Event:
    """One of the visitor's records, and what it became.

    `recorded_at` is the record's timestamp in milliseconds, `event_time` is in
    microseconds; what no event could be read from has neither id nor time. `gave` is
    what it added, by attribute, a text a value; `letter` where its
    dead letter lies, as partition and offset.
    """

    offset: int
    recorded_at: int
    event_id: str | None
    event_time: int | None
    became: str
    reason: str
    sentence: str
    gave: dict[str, list[str]] = field(default_factory=dict)
    letter: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The visitor's events in order, and how far they can be trusted.

    `counts` are of all of them by what they became, `events` the last `MOST_EVENTS`.
    `differing` are the attributes whose replayed state is not the stored one, None
    where there is nothing to compare with. `records` were replayed in all.
    """

    events: list[Event]
    counts: dict[str, int]
    records: int
    differing: list[str] | None
    notes: list[str]


# Event id, event time and gifts of an event that could be mapped.
Mapped: TypeAlias = "tuple[str | None, int | None, dict[str, list[str]]]"


class Replay:
    """Replays one partition and watches one visitor. All calls block."""

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        settings: Settings,
        plan: Plan,
        schemas: Schemas,
        explainer: Explainer,
        visitor: str,
        *,
        key: bytes,
    ) -> None:
        """Read nothing yet; `key` is what the visitor's records probably have."""
        self._settings = settings
        self._plan = plan
        self._explainer = explainer
        self._visitor = visitor
        self._keys = {visitor.encode(), key}
        self._mapped: list[Events] = []
        self._codec = ProfileCodec(ProfileSchema.of(plan))
        self._decoder = Decoder(schemas, Mapper(plan, watch=self._mapped.append))
        self._work = BatchWork(
            plan,
            self._decoder,
            self._codec,
            generation=0,
            largest_record=MAX_RECORD_BYTES - RECORD_OVERHEAD,
            max_ahead=settings.purchases.max_ahead,
        )
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._counts: Counter[str] = Counter()
        self._refused_offsets = np.zeros(0, np.int64)
        self._suppressed: dict[bytes, int | None] = {}

    def run(self, partition: int, end: int, stored: pa.RecordBatch | None) -> Replayed:
        """Replay from the first record; compare with the profile `stored` at `end`."""
        settings, topics = self._settings, self._settings.topics
        found = TopicAdmin(settings).states([topics.purchases])
        topic_id = found[topics.purchases].topic_id
        refused = self._refused(partition, topic_id)
        self._refused_offsets = np.array(sorted(refused), np.int64)
        seen = self._seen(partition)
        records = 0
        differing = None
        notes: list[str] = []
        purchases = self._explainer.topic(topics.purchases)
        with (
            TemporaryDirectory(prefix="pos-consumer-explain-") as folder,
            PartitionStore(Path(folder, "store")) as store,
        ):
            low, _ = purchases.bounds(partition)
            opened = self._opened(store, partition, Position(topic_id, low, 0, 0), seen)
            if stored is not None:
                opened.day = stored.column("as_of_day")[0].as_py()
            if low:
                notes.append(self._begun_late(low, seen))
            for part in purchases.read(partition, end=end):
                records += len(part)
                if why := self._batch(part, opened, refused):
                    notes.append(f"The replay stops: {why}")
                    break
            else:
                differing = self._differing(opened, stored)
            for part in purchases.read(partition, end, keys=self._keys):
                self._unread(part)
        if settings.purchases.start != "earliest":
            notes.append(
                f"The service began at purchases.start = {settings.purchases.start}: "
                "it has not read what lies before."
            )
        counts = dict(self._counts)
        return Replayed([*self._events], counts, records, differing, notes)

    def _refused(self, partition: int, topic_id: str) -> dict[int, int | None]:
        """Give the dead letters of the partition: by offset in purchases, their own.

        What was replayed was a dead letter, also where that is no longer in its topic.
        """
        replayed = self._explainer.control.replayed(topic_id, partition)
        refused: dict[int, int | None] = dict.fromkeys(replayed)
        dead_letters = self._explainer.topic(self._settings.topics.dead_letters)
        for records in dead_letters.read(partition):
            for one in letters(records):
                if one.kept is not None and one.kept.topic_id == topic_id:
                    refused[one.kept.offset] = one.offset
        return refused

    def _seen(self, partition: int) -> dict[tuple[int, int], Ids]:
        """Give the event ids that the service remembers, by chunk.

        Notes who was erased, since their events are passed over.
        """
        seen: dict[tuple[int, int], Ids] = {}
        state = self._explainer.topic(self._settings.topics.state)
        for records in state.read(partition):
            pairs = zip(records.keys, records.values, strict=True)
            changes = state_records.to_changes((k or b"", v) for k, v in pairs)
            for chunk in changes.forgotten:
                seen.pop(chunk, None)
            seen.update(changes.seen)
            self._suppressed.update(changes.suppressed)
        return seen

    def _opened(
        self,
        store: PartitionStore,
        number: int,
        position: Position,
        seen: Mapping[tuple[int, int], Ids],
    ) -> OpenPartition:
        """Open the partition as at its first record, with the ids seen before it."""
        store.commit(Changes(seen=_before(seen, position.next_offset)))
        cached = WriteBackStore(store, memory=lambda: CACHE_BYTES, now=time.monotonic())
        ids = None
        if horizon := self._settings.aggregate.deduplicate:
            ids = SeenIds(bucket_width(horizon), cached.runs_of)
            for bucket in cached.buckets():
                for run in cached.runs_of(bucket):
                    ids.remember({bucket: run})
        suppressed = {key: at for key, at in self._suppressed.items() if at}
        return OpenPartition(number, cached, ids, position, suppressed=suppressed)

    def _begun_late(self, low: int, seen: Mapping[tuple[int, int], Ids]) -> str:
        words = (
            f"Records before offset {low:,} are gone from the topic: what they gave, "
            "the profile still has"
        )
        if self._settings.aggregate.deduplicate and not _before(seen, low):
            words += ", and an event may repeat one of them without showing it here"
        return f"{words}."

    def _batch(
        self, records: Records, opened: OpenPartition, refused: Mapping[int, int | None]
    ) -> str:
        """Work a batch and note the visitor's events; says what stops the partition."""
        dead = _among(records.offsets, self._refused_offsets)
        alive = records.take(np.flatnonzero(~dead))
        self._mapped.clear()
        try:
            prepared = self._work.prepare(alive, {opened.number: opened})
        except PartitionHalt as halt:
            return str(halt)
        if prepared.halts or prepared.waits:
            return str([*prepared.halts.values(), *prepared.waits.values()][0])
        found = self._judged(alive, prepared)
        if dead.any():
            found += self._dead(records.take(np.flatnonzero(dead)), refused)
        self._note(sorted(found, key=lambda one: one.offset))
        for output in prepared.outputs.values():
            changes = replace(output.changes, tails=Tails())
            opened.commit(changes, time.monotonic())
        return ""

    def _note(self, found: list[Event]) -> None:
        self._events += found
        self._counts.update(one.became for one in found)

    def _judged(self, records: Records, prepared: Prepared) -> list[Event]:
        """Say what each of the visitor's records became."""
        known = self._known()
        mine = {row for row, key in enumerate(records.keys) if key in self._keys}
        reasons = {one.row: one for one in prepared.verdicts.dead_letters}
        conflicts = set(prepared.verdicts.conflicts)
        found = []
        for row in sorted(mine | known.keys()):
            letter = reasons.get(row)
            event_id, event_time, gave = known.get(row, (None, None, {}))
            outcome = Outcome(prepared.verdicts.outcomes[row])
            why = CONFLICT if row in conflicts else ("", "")
            if letter is not None:
                why = letter.reason, letter.sentence
            found.append(
                Event(
                    offset=int(records.offsets[row]),
                    recorded_at=int(records.timestamps[row]),
                    event_id=event_id,
                    event_time=event_time,
                    became=outcome.label,
                    reason=why[0],
                    sentence=why[1],
                    gave=gave if outcome is Outcome.FOLDED else {},
                )
            )
        return found

    def _known(self) -> dict[int, Mapped]:
        """Give id, time and gifts of the visitor's mapped events, by row."""
        found: dict[int, Mapped] = {}
        for events in self._mapped:
            ours = (events.identity["visitor"] == self._visitor).fill_null(value=False)
            if not ours.any():
                continue
            mine = events.where(ours.to_numpy())
            self._keys |= {
                key.encode() for key in mine.identity["key"].drop_nulls().to_list()
            }
            gifts = _gifts(self._plan, mine)
            for place, row in enumerate(mine.records.tolist()):
                one = mine.identity.row(place, named=True)
                found[row] = one["event_id"], one["event_time"], gifts[place]
        return found

    def _dead(self, records: Records, refused: Mapping[int, int | None]) -> list[Event]:
        """Say what is kept of the visitor's records that are dead letters."""
        self._mapped.clear()
        with suppress(PartitionHalt):
            self._decoder.decode(records, Verdicts.of(len(records)))
        known = self._known()
        mine = {row for row, key in enumerate(records.keys) if key in self._keys}
        found = []
        dead_letters = self._explainer.topic(self._settings.topics.dead_letters)
        for row in sorted(mine | known.keys()):
            offset = int(records.offsets[row])
            at = refused[offset]
            place = None if at is None else (int(records.partitions[row]), at)
            kept = None if place is None else dead_letters.one(*place)
            told = next(letters(kept)).kept if kept is not None else None
            event_id, event_time, _ = known.get(row, (None, None, {}))
            found.append(
                Event(
                    offset=offset,
                    recorded_at=int(records.timestamps[row]),
                    event_id=event_id,
                    event_time=event_time,
                    became=Outcome.DEAD_LETTERED.label,
                    reason="" if told is None else told.reason,
                    sentence="" if told is None else told.sentence,
                    letter=place,
                )
            )
        return found

    def _unread(self, records: Records) -> None:
        """Note what the service has not read yet; nothing is known of it."""
        places = zip(records.offsets.tolist(), records.timestamps.tolist(), strict=True)
        self._note([Event(*place, None, None, NOT_READ, "", "") for place in places])

    def _differing(
        self, opened: OpenPartition, stored: pa.RecordBatch | None
    ) -> list[str] | None:
        """Compare the replayed profile with the stored one, attribute by attribute.

        What a window has forgotten and what it has still kept may differ: there the
        values are compared.
        """
        if stored is None:
            return None
        (value,) = opened.store.get_many(packed_hashes([self._visitor.encode()]))
        if value is None:
            return [plan.name for plan in self._plan.attributes]
        found = self._codec.decode([value])
        as_of = np.array([opened.day])

        def told(plan: AttributePlan, profile: pa.RecordBatch) -> pa.Array:
            states = profile.column(plan.name)
            return (
                states if plan.window is None else render_attribute(plan, states, as_of)
            )

        return [
            plan.name
            for plan in self._plan.attributes
            if not told(plan, found).equals(told(plan, stored))
        ]


def _among(offsets: Ints, some: Ints) -> NDArray[np.bool_]:
    """Flag the offsets that are among some others, which are sorted."""
    if not len(some):
        return np.zeros(len(offsets), bool)
    place = np.minimum(np.searchsorted(some, offsets), len(some) - 1)
    found: NDArray[np.bool_] = some[place] == offsets
    return found


def _before(
    seen: Mapping[tuple[int, int], Ids], offset: int
) -> dict[tuple[int, int], Ids]:
    """Keep the chunks of ids that end before an offset.

    A chunk is named by its first event's offset and ends before the next one begins.
    """
    numbers = sorted(number for _, number in seen)
    if not numbers:
        return {}
    ends = dict(zip(numbers, [*numbers[1:], None], strict=True))
    return {
        chunk: ids
        for chunk, ids in seen.items()
        if (until := ends[chunk[1]]) is not None and until <= offset
    }


def _gifts(plan: Plan, events: Events) -> list[dict[str, list[str]]]:
    """Say what each event gives to each attribute; attributes without are left out."""
    gifts: list[dict[str, list[str]]] = [{} for _ in range(len(events))]
    for one in plan.attributes:
        items = events.items if one.source == "items" else None
        frame = events.operands if items is None else items.operands
        owners = range(len(events)) if items is None else items.events.tolist()
        values = frame[one.operand_column].to_list()
        weights = frame[one.weight_column].to_list() if one.weight_column else None
        for row, owner in enumerate(owners):
            if values[row] is not None:
                words = shown(one.kept, values[row])
                if weights is not None:
                    words += f" x {weights[row]}"
                gifts[owner].setdefault(one.name, []).append(words)
    return gifts
