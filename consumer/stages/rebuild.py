"""Computes attributes anew from `purchases`, beside the running service.

Enters: the configuration, the attributes wanted, and where to begin. Leaves: topics of
its own with the profiles of these attributes alone, near the end of the input, and a
generation in `control` by which every partition's owner takes them over (`rebuilt`).

It is the aggregate stage itself, under an application of its own: exactly-once, and
killed at any moment it goes on where it was.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from consumer.config.groups import TopicSettings
from consumer.config.settings import OWN_TOPICS
from consumer.errors import ConfigurationError, PosConsumerError
from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.kafka.bounded_input import BoundedInput
from consumer.kafka.changelog import Changelog
from consumer.kafka.control_records import ControlView, Replayed
from consumer.kafka.excerpt import Excerpt
from consumer.kafka.topics import Cluster, TopicAdmin, plan_topics
from consumer.profiles.agenda import Agenda
from consumer.profiles.directory import StateDirectory
from consumer.profiles.record import ProfileSchema
from consumer.profiles.state_records import POSITION_KEY
from consumer.profiles.store import Position
from consumer.stages.aggregate import AggregateStage
from consumer.stages.copies import Copies
from consumer.stages.generations import Agreement, Wishes, settle
from consumer.stages.lifecycle import Partitions
from consumer.stages.rebuilt import partial_work
from consumer.telemetry.health import Health
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.kafka.control_records import Generation
    from consumer.plan.compile import Plan

NEAR_RECORDS: Final = 10_000
NEAR_SECONDS: Final = 5.0
"""Behind by less than this it hands over: each owner folds the rest itself."""

TAIL_RECORDS: Final = 50
_NOTHING: Final = ControlView()


@dataclass(frozen=True, slots=True)
class Stretch:
    """What there is to fold of one partition, and where present profiles began.

    `began` is the first record that they count, as far as is known: then 0.
    """

    partition: int
    start: int
    end: int
    began: int

    @property
    def shortened(self) -> bool:
        """Whether it would count less than the present profiles do."""
        return self.start > self.began


def choose(
    plan: Plan, known: Sequence[Generation], named: Sequence[str]
) -> tuple[str, ...]:
    """Give the attributes to compute: those named, or those that changed or are new.

    Raises `ConfigurationError` where one is unknown, or where others changed as well.
    """
    definitions = {a.name: a.definition for a in plan.attributes}
    if unknown := [name for name in named if name not in definitions]:
        raise ConfigurationError(
            "rebuild",
            unknown[0],
            f"expected one of the attributes {', '.join(definitions)}",
        )
    if not known:
        raise PosConsumerError(
            "There are no profiles yet.", "Start the service: it begins at the start."
        )
    newest = known[-1].definitions
    changed = [n for n, text in definitions.items() if newest.get(n) != text]
    wanted = tuple(dict.fromkeys(named or changed))
    if not wanted:
        raise PosConsumerError(
            "No attribute has changed.", "Name those that are to be computed anew."
        )
    schema_id = ProfileSchema.of(plan).schema_id
    settle(known, definitions, schema_id, Wishes(rebuilt=frozenset(wanted)))
    return wanted


def application_of(settings: Settings, rebuild: str) -> str:
    """Give the application that a rebuild is."""
    return f"{settings.application}-rebuild-{rebuild}"


def settings_of(
    settings: Settings, rebuild: str, start: str | datetime = "earliest"
) -> Settings:
    """Give the configuration of a rebuild: the same, but for what would be shared."""
    shared = {"rekeyed", "dead_letters"}
    own = {name: TopicSettings() for name in OWN_TOPICS if name not in shared}
    rekeyed = {"topic": settings.topics.rekeyed}
    letters = {"topic": None, "max_in_a_row": 0, "max_ratio": 1.0}
    state_dir = settings.aggregate.state_dir / f"rebuilding-{rebuild}"
    return settings.model_copy(
        update={
            **own,
            "rekeyed": settings.rekeyed.model_copy(update=rekeyed),
            # What the service has gone past halts nothing here.
            "dead_letters": settings.dead_letters.model_copy(update=letters),
            "application": application_of(settings, rebuild),
            "purchases": settings.purchases.model_copy(update={"start": start}),
            "aggregate": settings.aggregate.model_copy(update={"state_dir": state_dir}),
        }
    )


def survey(settings: Settings, start: str | datetime) -> list[Stretch]:
    """Look what there is to fold, and since when the present profiles count; blocks."""
    found = []
    topics = settings.topics
    with (
        Excerpt(settings, topics.purchases) as purchases,
        Excerpt(settings, topics.state) as state,
    ):
        for number in purchases.partitions():
            begin, end = purchases.bounds(number)
            if not isinstance(start, str):
                at = purchases.offset_at(number, int(start.timestamp() * 1000))
                begin = end if at is None else max(begin, at)
            position = _last_position(state, number)
            began = 0 if position is None else position.began or 0
            found.append(Stretch(number, begin, end, began))
    return found


def owners_positions(state: Excerpt, begins: Mapping[int, int]) -> dict[int, int]:
    """Give how far the partitions' owners have folded; as it `begins` if not at all.

    A position never goes back: what it says stays true.
    """
    found = {number: _last_position(state, number) for number in begins}
    return {
        number: begins[number] if position is None else position.next_offset
        for number, position in found.items()
    }


def _last_position(state: Excerpt, partition: int) -> Position | None:
    """Find a partition's position, which ends every transaction, at the topic's end."""
    low, high = state.bounds(partition)
    width = TAIL_RECORDS
    while True:
        start = max(low, high - width)
        found = None
        for records in state.read(partition, start, high):
            for key, value in zip(records.keys, records.values, strict=True):
                if key == POSITION_KEY and value is not None:
                    found = Position.from_json(value)
        if found is not None or start == low:
            return found
        width *= 10


def taken_over(settings: Settings, generation: Generation) -> bool:
    """Whether the profiles of every partition are joined to a rebuild; blocks."""
    with Excerpt(settings, settings.topics.state) as state:
        for number in state.partitions():
            position = _last_position(state, number)
            if position is None or position.generation < generation.number:
                return False
            if position.rebuild == generation.rebuild["id"]:
                return False
    return True


def require_whole(stretches: Sequence[Stretch]) -> None:
    """Refuse to count less than the present profiles do."""
    short = [one for one in stretches if one.shortened]
    if short:
        first = short[0]
        raise PosConsumerError(
            f"The rebuild would shorten history: in {len(short)} of {len(stretches)} "
            f"partitions it begins behind what the present profiles count, first in "
            f"partition {first.partition}: at offset {first.start}, they at "
            f"{first.began}. Retention has removed what lies between, or --from leaves "
            "it out.",
            "With --allow-truncated-history the rebuilt attributes count from there.",
        )


class Shadow:
    """The rebuild at work: the aggregate stage in a thread, asked from outside."""

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        settings: Settings,
        plan: Plan,
        schemas: Schemas,
        names: Sequence[str],
        *,
        control: ControlView,
        begins: Mapping[int, int],
    ) -> None:
        """Make the topics; `settings` are `settings_of` the rebuild. Blocks.

        `control` tells what was replayed, `begins` where each partition began.
        Nothing is folded before `follow` says how far.
        """
        topics = settings.topics
        self._admin = TopicAdmin(settings)
        count = self._admin.states([topics.purchases])[topics.purchases].partitions
        own = [topics.profiles, topics.state, topics.dead_letters]
        specs = [one for one in plan_topics(settings, count) if one.name in own]
        there = self._admin.states(own)
        self._admin.create([one for one in specs if one.name not in there])
        cluster = Cluster.of(self._admin.states([topics.purchases, *own]))
        self._directory = StateDirectory(
            settings.aggregate.state_dir,
            settings.application,
            mapped=settings.aggregate.shares.mapped,
        )
        decoder = Decoder(schemas, Mapper(plan))
        copies = Copies.of(control, cluster.topic_ids[topics.purchases], begins)
        work, codec, _ = partial_work(settings, plan, decoder, names, copies=copies)
        self.count = count
        self._source = BoundedInput(settings, begins)
        metrics, board, health = Metrics(), StatusBoard(), Health()
        agreement = Agreement(1, count, {}, codec)
        self._partitions = Partitions(
            settings,
            self._directory,
            self._source,
            Changelog(settings),
            cluster=cluster,
            metrics=metrics,
            board=board,
            agreement=agreement,
            agenda=Agenda(replace(plan, attributes=()), codec),  # no day passes here
        )
        self._stage = AggregateStage(
            settings,
            self._directory,
            self._source,
            self._partitions,
            work,
            cluster=cluster,
            metrics=metrics,
            board=board,
            health=health.component("rebuild"),
            agreement=agreement,
            view=lambda: _NOTHING,
        )
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rebuild", daemon=True)

    def start(self) -> None:
        """Begin to fold."""
        self._thread.start()

    def follow(self, owners: Mapping[int, int]) -> None:
        """Fold as far as the owners have: their next offsets."""
        self._source.bounds = owners

    def positions(self) -> dict[int, int]:
        """Give the next offset of each partition that flows.

        Raises what ended the stage, or what a partition was halted for.
        """
        if self._error is not None:
            raise self._error
        for number, halt in [*self._partitions.halted.items()]:
            raise PosConsumerError(
                f"Partition {number} of the rebuild is halted: {halt.what}", halt.remedy
            )
        running = [*self._partitions.running.values()]
        return {one.number: one.position.next_offset for one in running}

    def stop(self) -> None:
        """End the transaction under way and leave."""
        self._stage.drain()
        self._thread.join()
        self._directory.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._stage.run()
        except BaseException as error:  # noqa: BLE001 - raised by `positions`
            self._error = error


def near(left: int, rate: float) -> bool:
    """Whether so few records are left, at that rate, that owners can take over."""
    return left <= max(NEAR_RECORDS, NEAR_SECONDS * rate)


def described(
    settings: Settings, rebuild: str, plan: Plan, names: Sequence[str]
) -> dict[str, object]:
    """Give what owners must know to take a rebuild over."""
    topics = settings_of(settings, rebuild).topics
    some = replace(
        plan, attributes=tuple(a for a in plan.attributes if a.name in names)
    )
    schema = ProfileSchema.of(some)
    return {
        "id": rebuild,
        "attributes": [*names],
        "profiles": topics.profiles,
        "state": topics.state,
        "schema_id": schema.schema_id,
        "schema": schema.text,
    }


def has_topics(settings: Settings, rebuild: str) -> bool:
    """Whether a rebuild's topics are there; blocks."""
    own = settings_of(settings, rebuild)
    return bool(TopicAdmin(own).states([own.topics.profiles, own.topics.state]))


def clean_up(settings: Settings, rebuild: str) -> None:
    """Delete what a rebuild has made: its topics and its folder; blocks."""
    own = settings_of(settings, rebuild)
    topics = own.topics
    TopicAdmin(own).delete([topics.profiles, topics.state, topics.dead_letters])
    folder: Path = own.aggregate.state_dir
    shutil.rmtree(folder, ignore_errors=True)


def replays(control: ControlView) -> int:
    """Count what was replayed: a note is never removed."""
    return sum(isinstance(one, Replayed) for one in control.records.values())


def definitions_of(plan: Plan, names: Sequence[str]) -> Mapping[str, str]:
    """Give the definitions of some attributes, by which a rebuild is known again."""
    return {a.name: a.definition for a in plan.attributes if a.name in names}
