"""What the service would make of some records: the real path, and nothing is kept.

Enters: records and the configuration's plan. Leaves: the mapped columns with their
shares of nulls, what each record became, and the profiles with the lines of the batch
file that they would give. Every visitor begins anew, as on an empty store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.frames import Events, Outcome, Records, Verdicts
from consumer.kafka.topics import MAX_RECORD_BYTES
from consumer.profiles.readable import moment, shown
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.profiles.seen import SeenIds, bucket_width
from consumer.profiles.store import Position, Tails
from consumer.profiles.write_back import WriteBackStore
from consumer.stages.batch import CONFLICT, BatchWork, OpenPartition, Prepared
from consumer.stages.rekeying import Rekeying
from consumer.target.batch_file import REASONS, encode_rows, header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from consumer.config import Settings
    from consumer.errors import PartitionHalt
    from consumer.events.decode import Schemas
    from consumer.plan.compile import Plan
    from consumer.profiles.seen import Ids
    from consumer.profiles.store import PartitionStore

    # The type of a column in words, and what writes one of its values.
    Written: TypeAlias = tuple[str, Callable[[Any], str]]

HALTED: Final = "halted"
WAITING: Final = "waiting"
TOMBSTONE: Final = ("tombstone", "The record has no value.")
NOT_WANTED: Final = ("where", "[purchases] where is not true of the event.")
NO_VISITOR: Final = (
    "without_visitor",
    "The event names no visitor; [purchases] without_visitor filters those.",
)
EXAMPLES: Final = 3
CACHE_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """One mapped column: how many values, how many of them null, the first ones."""

    name: str
    kind: str
    values: int
    nulls: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Became:
    """What one record became.

    `halted` where its partition would stop before it, `waiting` where it would wait.
    """

    partition: int
    offset: int
    timestamp: int
    outcome: str
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One visitor's profile as it is stored, as Target gets it, and its line.

    `line` is None where Target cannot take the row, for the reason `rejected`.
    """

    visitor: str
    state: dict[str, Any]
    attributes: dict[str, str | None]
    line: str | None
    rejected: str


@dataclass(frozen=True, slots=True)
class Preview:
    """All of it; `header` is the batch file's first line."""

    columns: list[Column]
    records: list[Became]
    header: str
    profiles: list[Profile]


def preview(  # noqa: PLR0913 - what it depends on
    settings: Settings,
    plan: Plan,
    schemas: Schemas,
    records: Records,
    *,
    largest_record: int,
    day: int = 0,
) -> Preview:
    """Work the records as one batch. Raises what would halt or stop the service.

    Windows end with `day`.
    """
    if settings.rekeys:
        records = _by_visitor(plan, schemas, records)
    codec = ProfileCodec(ProfileSchema.of(plan))
    prepared = BatchWork(
        plan,
        Decoder(schemas, Mapper(plan)),
        codec,
        generation=0,
        largest_record=largest_record,
        max_ahead=settings.purchases.max_ahead,
    ).prepare(records, _partitions(settings, records, day))
    mapped = _mapped(plan, schemas, records)
    renderer = RowRenderer(plan.attributes, codec)
    first_line = header(settings.target.key, renderer.attributes)
    return Preview(
        columns=_columns(plan, mapped),
        records=_became(records, prepared, mapped),
        header=first_line.decode("ascii").removesuffix("\n"),
        profiles=_profiles(
            prepared,
            codec,
            renderer,
            reject_long_values=settings.target.batch.long_values == "reject",
        ),
    )


def _by_visitor(plan: Plan, schemas: Schemas, records: Records) -> Records:
    """Give records the keys that the stage rekey would; the others keep theirs."""
    rekeying = Rekeying(plan, schemas, largest_record=MAX_RECORD_BYTES)
    rekeyed = rekeying.work(records, {})
    places = _places(rekeyed.records)
    found = {places[r]: key for r, key in zip(rekeyed.rows, rekeyed.keys, strict=True)}
    keys = [
        found.get(place, key)
        for place, key in zip(_places(records), records.keys, strict=True)
    ]
    return replace(records, keys=keys)


def _places(records: Records) -> list[tuple[int, int]]:
    """Give each record's partition and offset."""
    return list(zip(records.partitions.tolist(), records.offsets.tolist(), strict=True))


class EmptyStore:
    """A partition's store, as it is before the first purchase; nothing is written."""

    position = None
    tails = Tails()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Know no profile."""
        return [None] * len(keys)

    def count(self) -> int:
        """Have no profile."""
        return 0

    def runs_of(self, _bucket: int) -> Iterator[Ids]:
        """Have seen no event id."""
        return iter(())

    def chunks_before(self, _bucket: int) -> list[tuple[int, int]]:
        """Have nothing to forget."""
        return []


def _partitions(
    settings: Settings, records: Records, day: int
) -> dict[int, OpenPartition]:
    horizon = settings.aggregate.deduplicate
    opened = {}
    for number in np.unique(records.partitions).tolist():
        empty = cast("PartitionStore", EmptyStore())
        store = WriteBackStore(empty, memory=lambda: CACHE_BYTES, now=0.0)
        seen = SeenIds(bucket_width(horizon), store.runs_of) if horizon else None
        position = Position("", 0, 0, 0)
        opened[number] = OpenPartition(number, store, seen, position, day=day)
    return opened


def _mapped(plan: Plan, schemas: Schemas, records: Records) -> list[Events]:
    """Map the records once more, to see events before any is refused."""
    mapped: list[Events] = []
    verdicts = Verdicts.of(len(records))
    Decoder(schemas, Mapper(plan, watch=mapped.append)).decode(records, verdicts)
    return mapped


def _columns(plan: Plan, mapped: list[Events]) -> list[Column]:
    if not mapped:
        return []
    times: dict[str, Written] = {"event_time": ("datetime", moment)}
    kept: dict[str, Written] = {
        one.operand_column: (one.kept.logical, partial(shown, one.kept))
        for one in plan.attributes
    }
    of_items = [one.items.operands for one in mapped if one.items is not None]
    return [
        _column(name, [frame[name] for frame in parts], known.get(name))
        for parts, known in (
            ([one.identity for one in mapped], times),
            ([one.operands for one in mapped], kept),
            (of_items, kept),
        )
        if parts
        for name in parts[0].columns
    ]


def _column(name: str, parts: list[pl.Series], known: Written | None) -> Column:
    """Describe a column by what its values stand for, not by how they are stored."""
    kind, write = known or (str(parts[0].dtype), str)
    examples: list[str] = []
    for part in parts:
        examples += map(write, part.drop_nulls().head(EXAMPLES).to_list())
    return Column(
        name=name,
        kind=kind,
        values=sum(map(len, parts)),
        nulls=sum(part.null_count() for part in parts),
        examples=tuple(examples[:EXAMPLES]),
    )


def _became(records: Records, prepared: Prepared, mapped: list[Events]) -> list[Became]:
    """Say what each record that entered became, in their order."""
    wanted = {row for events in mapped for row in events.records.tolist()}
    worked = prepared.records
    rows = {place: row for row, place in enumerate(_places(worked))}
    letters = {one.row: one for one in prepared.verdicts.dead_letters}
    conflicts = set(prepared.verdicts.conflicts)
    result = []
    for number, (partition, offset, timestamp) in enumerate(
        zip(
            records.partitions.tolist(),
            records.offsets.tolist(),
            records.timestamps.tolist(),
            strict=True,
        )
    ):
        row = rows.get((partition, offset))
        if row is None and partition in prepared.waits:
            words = (WAITING, "", prepared.waits[partition])
        elif row is None:
            halt: PartitionHalt = prepared.halts[partition]
            words = (HALTED, halt.reason, str(halt))
        elif (letter := letters.get(row)) is not None:
            words = (Outcome.DEAD_LETTERED.label, letter.reason, letter.sentence)
        else:
            why = CONFLICT if row in conflicts else ("", "")
            if prepared.verdicts.outcomes[row] == Outcome.FILTERED:
                is_wanted = NO_VISITOR if number in wanted else NOT_WANTED
                why = TOMBSTONE if records.values[number] is None else is_wanted
            words = (Outcome(prepared.verdicts.outcomes[row]).label, *why)
        result.append(Became(partition, offset, timestamp, *words))
    return result


def _profiles(
    prepared: Prepared,
    codec: ProfileCodec,
    renderer: RowRenderer,
    *,
    reject_long_values: bool,
) -> list[Profile]:
    values = [
        value
        for output in prepared.outputs.values()
        for _, value in output.profiles
        if value is not None
    ]
    if not values:
        return []
    states = codec.decode(values).to_pylist()
    rendered = renderer.rows(values)
    encoded = encode_rows(rendered, reject_long_values=reject_long_values)
    lines = dict(zip(encoded.kept.tolist(), encoded.rows.to_pylist(), strict=True))
    rejected = dict(zip(encoded.rejected.tolist(), encoded.reasons, strict=True))
    result = []
    for row, (state, sent) in enumerate(zip(states, rendered.to_pylist(), strict=True)):
        line = lines.get(row)
        result.append(
            Profile(
                visitor=sent["visitor"],
                state=state,
                attributes={name: sent[name] for name in renderer.attributes},
                line=None if line is None else line.decode("ascii").rstrip("\n"),
                rejected=REASONS[rejected[row]] if row in rejected else "",
            )
        )
    return result
