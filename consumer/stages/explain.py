"""One visitor, explained: why Target gets what it gets, and whether it has it yet.

Enters: a visitor id. Leaves: its profile as it stands in the topics, each attribute's
state in words and as it is sent, the exact line of the batch file, and what became of
it. Reads topics as a bystander: no group is joined, no replica's folder is needed, and
nothing is written. What became of the single events, `explain_events` says.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from consumer.kafka.control import Control
from consumer.kafka.control_records import ControlView
from consumer.kafka.excerpt import Excerpt
from consumer.kafka.partitioners import likely_first
from consumer.profiles import state_records
from consumer.profiles.fold import packed_hashes
from consumer.profiles.readable import in_words, moment
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.profiles.state_records import POSITION_KEY
from consumer.profiles.store import Position
from consumer.stages.explain_delivery import Delivery, Version, delivery
from consumer.stages.generations import teach
from consumer.target.batch_file import REASONS, encode_rows, header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from consumer.config import Settings
    from consumer.frames import Records
    from consumer.kafka.control_records import Generation
    from consumer.kafka.excerpt import Reached
    from consumer.plan.attributes import AttributePlan
    from consumer.plan.compile import Plan

AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: what Target gets, what that is made of, and by which rule."""

    name: str
    sent: str | None
    made_of: str
    rule: str
    state: Any


@dataclass(frozen=True, slots=True)
class Profile:
    """The newest version of a profile.

    `source_offset` is that of the last event folded, `as_of_day` the day that windows
    end with, in days since the epoch, 0 without windows; `line` is None where Target
    cannot take the row, for the reason `rejected`.
    """

    version: int
    generation: int
    source_offset: int
    as_of_day: int
    attributes: list[Attribute]
    header: str
    line: str | None
    rejected: str


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is known of a visitor.

    `profile` and `delivery` are None where the profile was removed, and `erased_at`
    says when that was an erasure, in milliseconds. Of the purchases in the partition
    those before `next_offset` have been read; they end at `end`. `notes` tell what
    limits the answer.
    """

    visitor: str
    partition: int
    versions: list[Version]
    next_offset: int | None
    end: int
    profile: Profile | None
    delivery: Delivery | None
    notes: list[str]
    erased_at: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """There is no profile, in so many partitions with so many offsets.

    `partition` is where a purchase with this visitor as its key lies, None where there
    is none either; `next_offset`, `end` and `erased_at` as in `Explained`.
    """

    visitor: str
    partitions: int
    offsets: int
    partition: int | None = None
    next_offset: int | None = None
    end: int = 0
    erased_at: int | None = None


class Explainer:
    """Looks a visitor up. All calls block; a context manager that lets go of Kafka.

    `on_progress` is told what is being read. `stored` is then the profile in columns,
    one row, None where there is no profile, and `control` what the control topic holds.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        on_progress: Callable[[Reached], None] = lambda _: None,
    ) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._plan = plan
        self._on_progress = on_progress
        self._codec = ProfileCodec(ProfileSchema.of(plan))
        self._renderer = RowRenderer(plan.attributes, self._codec)
        self._opened: dict[str, Excerpt] = {}
        self.stored: pa.RecordBatch | None = None
        self.control = ControlView()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Give the explainer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the clients."""
        self._stack.close()

    def explain(self, visitor: str, key: bytes) -> Explained | Unknown:
        """Find the visitor's profile and say all that topics and offsets tell.

        `key` is what the visitor's purchases probably have as their key: it tells where
        to look first.
        """
        self.control = Control(self._settings).read()
        generations = self.control.generations
        definitions = {a.name: a.definition for a in self._plan.attributes}
        teach(self._codec, generations, definitions)
        offsets = 0
        profiles = self.topic(self._settings.topics.profiles)
        partitions = profiles.partitions()
        for partition in likely_first(key, partitions):
            # Before the profile: what lies before this position is in the profile.
            position = self.position(partition)
            low, high = profiles.bounds(partition)
            offsets += high - low
            if found := [*profiles.read(partition, keys=(visitor.encode(),))]:
                notes = self._notes(generations)
                return self._explained(visitor, partition, found, position, notes)
        first = next(iter(likely_first(key, partitions)))
        erased_at = self._erased_at(first, visitor)
        return Unknown(visitor, len(partitions), offsets, erased_at=erased_at)

    def keyed(self, unknown: Unknown, key: bytes) -> Unknown:
        """Search all purchases for one that has this key."""
        purchases = self.topic(self._settings.topics.purchases)
        for partition in likely_first(key, purchases.partitions()):
            if any(True for _ in purchases.read(partition, keys=(key,))):
                position = self.position(partition)
                return replace(
                    unknown,
                    partition=partition,
                    next_offset=None if position is None else position.next_offset,
                    end=purchases.bounds(partition)[1],
                )
        return unknown

    def topic(self, name: str) -> Excerpt:
        """Give a topic, opened for reading much of it."""
        if name not in self._opened:
            excerpt = Excerpt(
                self._settings, name, at_once=AT_ONCE, on_progress=self._on_progress
            )
            self._opened[name] = self._stack.enter_context(excerpt)
        return self._opened[name]

    def position(self, partition: int) -> Position | None:
        """Give how far a partition's purchases have been folded."""
        state = self.topic(self._settings.topics.state)
        found = state.last(partition, POSITION_KEY)
        value = None if found is None else found.values[0]
        return None if value is None else Position.from_json(value)

    def _erased_at(self, partition: int, visitor: str) -> int | None:
        """Give when a visitor was erased, in milliseconds, while that is remembered."""
        (hashed,) = packed_hashes([visitor.encode()])
        found = self.topic(self._settings.topics.state).last(
            partition, state_records.ERASED + hashed
        )
        if found is None:
            return None
        pairs = zip(found.keys, found.values, strict=True)
        changes = state_records.to_changes((key or b"", value) for key, value in pairs)
        return changes.suppressed.get(hashed)

    def _notes(self, generations: Sequence[Generation]) -> list[str]:
        """Say what makes this configuration's answer another than the service's."""
        mine = {one.name: one.definition for one in self._plan.attributes}
        if any(dict(one.definitions) == mine for one in generations):
            return []
        words = (
            "This configuration is none that the service has run with: an attribute "
            "that it does not know is empty here."
        )
        return [words]

    def _explained(
        self,
        visitor: str,
        partition: int,
        found: list[Records],
        position: Position | None,
        notes: list[str],
    ) -> Explained:
        rows = [
            (int(part.offsets[row]), int(part.timestamps[row]), part.values[row])
            for part in found
            for row in range(len(part))
        ]
        values = [value for _, _, value in rows if value is not None]
        decoded = self._codec.decode(values)
        states = decoded.to_pylist()
        numbers = iter([one["version"] for one in states])
        versions = [
            Version(None if value is None else next(numbers), offset, at)
            for offset, at, value in rows
        ]
        _, end = self.topic(self._settings.topics.purchases).bounds(partition)
        profile = sent = erased_at = None
        if rows[-1][2] is None:
            erased_at = self._erased_at(partition, visitor)
        else:
            self.stored = decoded.slice(len(decoded) - 1)
            if erased_at := states[-1]["erased_at"] or None:
                when = moment(erased_at * 1_000)
                notes = [*notes, f"Erased at {when}: what came before is gone."]
            profile = self._profile(values[-1], states[-1])
            sent = delivery(self._settings, self.topic, visitor, partition, versions)
        return Explained(
            visitor=visitor,
            partition=partition,
            versions=versions,
            next_offset=None if position is None else position.next_offset,
            end=end,
            profile=profile,
            delivery=sent,
            notes=notes,
            erased_at=erased_at,
        )

    def _profile(self, value: bytes, state: dict[str, Any]) -> Profile:
        rendered = self._renderer.rows([value])
        (sent,) = rendered.to_pylist()
        encoded = encode_rows(rendered)
        lines = encoded.rows.to_pylist()
        first_line = header(self._settings.target.key, self._renderer.attributes)
        return Profile(
            version=state["version"],
            generation=state["generation"],
            source_offset=state["source_offset"],
            as_of_day=state["as_of_day"],
            attributes=[
                Attribute(
                    name=plan.name,
                    sent=sent[plan.name],
                    made_of=in_words(plan, state[plan.name]),
                    rule=self._rule(plan),
                    state=state[plan.name],
                )
                for plan in self._plan.attributes
            ],
            header=first_line.decode("ascii").rstrip("\n"),
            line=lines[0].decode("ascii").rstrip("\n") if lines else None,
            rejected="" if lines else REASONS[encoded.reasons[0]],
        )

    def _rule(self, plan: AttributePlan) -> str:
        """Write how the value is made, as it stands in the configuration."""
        configured = self._settings.attributes[plan.name]
        parts = [plan.summary.partition(" = ")[2]]
        if configured.render:
            parts.append(f"then {configured.render}")
        if configured.format:
            parts.append(f"as {configured.format}")
        return ", ".join(parts)
