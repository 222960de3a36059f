"""Says what is wrong after a run: topics and Target against the plain recount.

Everything is read from the broker as any other reader sees it, read_committed, with
the service at rest. Each finding is a sentence; none means that the promises held.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, Producer, TopicPartition

from consumer.config import load_settings
from consumer.loading import load_plan
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.sandbox.accumulators import DEMO_ATTRIBUTES, Attribute
from consumer.sandbox.demo.work import SCHEMA_ID
from consumer.sandbox.purchases.read_back import read_back
from consumer.sandbox.purchases.schema import SCHEMA
from consumer.sandbox.recount import Record, Recount, recount
from tests.faults.arena import DAY, MOST_MEMORY_KB, Failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from confluent_kafka import Message

    from tests.faults.arena import Arena

SECONDS: Final = 45.0
EXAMPLES: Final = 3
IDS_KEY: Final = struct.Struct(">3sQQ")
ID_BYTES: Final = 16
MARKER: Final = b"the oracle's "
REASON: Final = "pos-consumer-reason"
SLIDING: Final = Attribute(
    "units_today", "sum", of=lambda row: row["quantity"], items=True, window=1
)

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a visitor's profile, as it lies in the topic."""

    partition: int
    offset: int
    number: int
    row: Row


def check(arena: Arena, *, erased: frozenset[str] = frozenset()) -> None:
    """Raise `Failed` with everything that is wrong; and with memory that ran away.

    The `erased` visitors have bought before, and nothing is to be left of them.
    """
    found = findings(arena, erased=erased)
    found += [
        f"instance {one.number} took {one.highest_kb} kB"
        for one in arena.instances
        if one.highest_kb > MOST_MEMORY_KB
    ]
    if found:
        raise Failed("\n".join([*found, arena.last_words()]))


def findings(
    arena: Arena,
    *,
    in_order_at_target: bool = True,
    erased: frozenset[str] = frozenset(),
) -> list[str]:
    """Compare everything; call it when no instance runs."""
    letters: list[tuple[int, int, str]] = []
    of_erased = 0

    def watch(record: Record, outcome: str, reason: str) -> None:
        nonlocal of_erased
        if outcome == "dead_lettered":
            letters.append((record.partition, record.offset, reason))
        of_erased += outcome == "folded" and _bytes(record.key).decode() in erased

    expected = recount(
        read_back(arena.bootstrap, arena.topic),
        (*DEMO_ATTRIBUTES, SLIDING) if arena.plan.slides else DEMO_ATTRIBUTES,
        {SCHEMA_ID: SCHEMA},
        today=DAY + timedelta(days=1),
        watch=watch,
    )
    expected = replace(
        expected,
        profiles={v: row for v, row in expected.profiles.items() if v not in erased},
    )
    names = ("profiles", "state", "dead-letters")
    topics = {name: _read(arena, arena.own(name)) for name in names}
    found = [
        f"{name}: a transaction is open, reading stops before offset {at}"
        for name, (_, blocked) in topics.items()
        for at in blocked
    ]
    versions = _versions(arena, topics["profiles"][0])
    living = {v: held for v, held in versions.items() if v not in erased}
    found += _profiles(expected, living)
    found += _version_numbers(versions)
    found += _state(arena, expected, topics["state"][0], of_erased)
    found += _dead_letters(letters, topics["dead-letters"][0])
    found += _target(arena, expected, versions, erased, in_order=in_order_at_target)
    found += _deleted(topics["profiles"][0], erased)
    return found


def _read(arena: Arena, topic: str) -> tuple[list[Message], list[str]]:
    """Append a record to each partition and read up to it.

    Returns what lies before it, and the places where an open transaction forbids to
    go on.
    """
    marker = MARKER + uuid.uuid4().bytes
    ends: dict[int, int] = {}
    producer = Producer({"bootstrap.servers": arena.bootstrap, "log_level": 2})

    def delivered(_: KafkaError | None, message: Message) -> None:
        ends[message.partition() or 0] = message.offset() or 0

    for number in range(arena.plan.partitions):
        producer.produce(topic, None, marker, number, on_delivery=delivered)
    producer.flush(SECONDS)
    assert len(ends) == arena.plan.partitions
    reader = arena.bystander("oracle")
    records: list[Message] = []
    left = dict(ends)
    reader.assign([TopicPartition(topic, number, 0) for number in ends])
    deadline = time.monotonic() + SECONDS
    try:
        while left and time.monotonic() < deadline:
            for one in reader.consume(10_000, 0.2):
                if one.error() is not None:
                    continue
                if one.key() == marker:
                    del left[one.partition() or 0]
                else:
                    records.append(one)
        blocked = [f"{end} of partition {number}" for number, end in left.items()]
    finally:
        reader.close()
    # An earlier look at the same run has left its own.
    return [one for one in records if not _bytes(one.key()).startswith(MARKER)], blocked


def _versions(arena: Arena, records: Sequence[Message]) -> dict[str, list[Version]]:
    """Decode and render all records of `profiles`, by visitor, in order."""
    plan, _ = load_plan(load_settings(arena.instances[0].work.config))
    codec = ProfileCodec(ProfileSchema.of(plan))
    renderer = RowRenderer(plan.attributes, codec)
    records = [one for one in records if one.value() is not None]
    if not records:
        return {}
    table = renderer.rows([_bytes(one.value()) for one in records]).to_pylist()
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    for one, row in zip(records, table, strict=True):
        visitor, number = row.pop("visitor"), row.pop("version")
        row.pop("generation")
        values = {name: value for name, value in row.items() if value}
        where = one.partition() or 0, one.offset() or 0
        versions[visitor].append(Version(*where, number, values))
    return versions


def _profiles(
    expected: Recount, versions: Mapping[str, Sequence[Version]]
) -> list[str]:
    """The latest profiles are the recount's."""
    last = {
        visitor: max(held, key=lambda one: one.offset).row
        for visitor, held in versions.items()
    }
    return _unequal("profiles", expected.profiles, last)


def _unequal(
    where: str, expected: Mapping[str, Mapping[str, str]], found: Mapping[str, Row]
) -> list[str]:
    # A profile of which nothing can be rendered is none at Target.
    wanted = {visitor: dict(row) for visitor, row in expected.items() if row}
    shown = {visitor: row for visitor, row in found.items() if row}
    wrong = [v for v in wanted.keys() | shown.keys() if wanted.get(v) != shown.get(v)]
    if not wrong:
        return []
    examples = [
        f"{visitor}: expected {_differing(wanted.get(visitor), shown.get(visitor))}"
        for visitor in sorted(wrong)[:EXAMPLES]
    ]
    return [f"{where}: {len(wrong)} of {len(wanted)} are wrong; {'; '.join(examples)}"]


def _differing(expected: Row | None, found: Row | None) -> str:
    if expected is None or found is None:
        return f"{expected}, found {found}"
    names = [n for n in expected | found if expected.get(n) != found.get(n)]
    wanted = {name: expected.get(name) for name in names}
    return f"{wanted}, found { {name: found.get(name) for name in names} }"


def _version_numbers(versions: Mapping[str, Sequence[Version]]) -> list[str]:
    """Each visitor's versions count from 1 without a gap or a repeat."""
    wrong = []
    for visitor, held in versions.items():
        ordered = sorted(held, key=lambda one: one.offset)
        numbers = [one.number for one in ordered]
        homes = {one.partition for one in held}
        if numbers != list(range(1, len(numbers) + 1)) or len(homes) > 1:
            wrong.append(f"{visitor} in {sorted(homes)}: {numbers}")
    if not wrong:
        return []
    return [f"versions of {len(wrong)} visitors: {'; '.join(wrong[:EXAMPLES])}"]


def _state(
    arena: Arena, expected: Recount, records: Iterable[Message], of_erased: int
) -> list[str]:
    """The positions are the ends of the input, each folded id is there once.

    Of the events of erased visitors those before their erasure were folded.
    """
    positions: dict[int, int] = {}
    ids: Counter[bytes] = Counter()
    for one in records:
        value = _bytes(one.value())
        if one.key() == b"position":
            positions[one.partition() or 0] = json.loads(value)["next_offset"]
        elif len(one.key() or b"") == IDS_KEY.size:
            half = len(value) // 2
            for at in range(0, half, ID_BYTES // 2):
                end = at + ID_BYTES // 2
                ids[value[at:end] + value[half + at : half + end]] += 1
    found = []
    ends = {number: end for number, end in arena.ends(arena.topic).items() if end}
    if positions != ends:
        found.append(f"state: positions {positions}, the input ends at {ends}")
    committed = arena.committed(f"{arena.name}-aggregate", arena.topic)
    if {number: committed[number] for number in ends} != ends:
        found.append(f"committed offsets {committed}, the input ends at {ends}")
    folded = expected.outcomes["folded"]
    repeated = sum(count > 1 for count in ids.values())
    if not folded - of_erased <= len(ids) <= folded or repeated:
        found.append(
            f"state: {len(ids)} ids, {repeated} of them repeated; {folded} were folded"
        )
    return found


def _dead_letters(
    expected: Sequence[tuple[int, int, str]], records: Iterable[Message]
) -> list[str]:
    """Each refused record lies there exactly once, with its reason."""
    found: Counter[tuple[int, int, str]] = Counter()
    for one in records:
        pairs = dict(one.headers() or [])
        headers = {str(n): _bytes(value).decode() for n, value in pairs.items()}
        where = (headers["pos-consumer-partition"], headers["pos-consumer-offset"])
        found[int(where[0]), int(where[1]), headers[REASON]] += 1
    wanted = Counter(expected)
    if found == wanted:
        return []
    missing = list((wanted - found).items())[:EXAMPLES]
    surplus = list((found - wanted).items())[:EXAMPLES]
    return [f"dead letters: missing {missing}, too many {surplus}"]


def _target(
    arena: Arena,
    expected: Recount,
    versions: Mapping[str, Sequence[Version]],
    erased: frozenset[str],
    *,
    in_order: bool,
) -> list[str]:
    """Target has the latest profiles, got only what was committed, and in order.

    Of an erased visitor the last it got was the erased row.
    """
    held = arena.world.loop.call(lambda: dict(arena.target.profiles()))
    rows = arena.world.loop.call(lambda: list(arena.target.journal.rows()))
    living = {v: row for v, row in held.items() if v not in erased}
    found = _unequal("Target", expected.profiles, living)
    final = {row.visitor: row.attributes for row in rows if row.visitor in erased}
    found += [
        f"Target was not told that {visitor} is erased: {final.get(visitor)}"
        for visitor in erased
        if final.get(visitor) != max(versions[visitor], key=_number).row
    ]
    found += [f"Target: {one}" for one in arena.target.journal.violations[:EXAMPLES]]
    rebuilt = arena.plan.rebuilt
    reached: dict[str, int] = {}
    unknown, older = [], []
    for row in rows:
        ordered = versions.get(row.visitor, ())
        alike = [one.number for one in ordered if _says(row.attributes, one, rebuilt)]
        if not alike:
            unknown.append(row.visitor)
            continue
        # Versions may look alike: the lowest that is not older is assumed.
        least = reached.get(row.visitor, 0)
        later = [number for number in alike if number >= least]
        if later:
            reached[row.visitor] = min(later)
        else:
            late = f"{row.visitor}: {max(alike)} after {least}"
            older.append(f"{late} in {row.batch_id} at {_moment(row.at)}")
    if unknown:
        found.append(f"Target got rows that were never committed: {unknown[:EXAMPLES]}")
    if older and in_order:
        found.append(f"Target got {len(older)} older versions: {older[:EXAMPLES]}")
    return found


def _deleted(records: Iterable[Message], erased: frozenset[str]) -> list[str]:
    """The erased visitors, and nobody else, end with a tombstone."""
    last = {_bytes(one.key()).decode(): one.value() for one in records}
    gone = {visitor for visitor, value in last.items() if value is None}
    if gone == erased:
        return []
    left, lost = sorted(erased - gone), sorted(gone - erased)
    return [f"profiles: {left} are not deleted, {lost[:EXAMPLES]} should not be"]


def _number(version: Version) -> int:
    return version.number


def _says(row: Mapping[str, str], version: Version, rebuilt: frozenset[str]) -> bool:
    """Whether it is that version's row, which may leave out what is being rebuilt."""
    if row == version.row:
        return True
    return bool(rebuilt) and row == {
        name: value for name, value in version.row.items() if name not in rebuilt
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).time().isoformat()


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - what the client gives
    if isinstance(value, str):
        return value.encode()
    return bytes(value or b"")
