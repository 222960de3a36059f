"""Which generation of the configuration this process is, as agreed in `control`.

Added and removed attributes make a new generation, and so does a release whose profile
records have other fields. A changed definition is refused, since stored states would
mean something else from one event to the next, unless the attribute is told to start
anew. Each attribute has a generation that it began with: whatever profiles of older
ones hold under its name is not its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

import structlog

from consumer.errors import ConfigurationError, NoValue, PosConsumerError
from consumer.kafka.control_records import Generation
from consumer.profiles.record import ProfileCodec, ProfileSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from consumer.kafka.announcement import Announcement
    from consumer.kafka.control_records import Body, ControlView
    from consumer.plan.compile import Plan
    from consumer.profiles.store import Position

log = structlog.get_logger(__name__)

RESET: Final = "--reset-attribute"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a start was told about its configuration.

    `reset`: these attributes start anew if their definition has changed. `supersede`:
    this is the newest configuration, although it was in use before. `rebuilt`: these
    attributes start anew with what a rebuild has computed, changed or not.
    """

    reset: frozenset[str] = frozenset()
    supersede: bool = False
    rebuilt: frozenset[str] = frozenset()


NO_WISHES: Final = Wishes()


@dataclass(frozen=True, slots=True)
class Settled:
    """Our generation's number, where each attribute began, and whether it is new."""

    number: int
    since: Mapping[str, int]
    new: bool


@dataclass(slots=True)
class Agreement:
    """Our generation, which may rise while we run, and what `codec` knows of it.

    `began_with` is how many partitions the input had when the application began, `ends`
    where those of the source ended then, empty if not known.
    """

    number: int
    began_with: int
    definitions: Mapping[str, str]
    codec: ProfileCodec = field(repr=False)
    rebuilds: Sequence[Generation] = ()
    ends: Sequence[int] = ()
    _seen: ControlView | None = field(default=None, repr=False)

    def copy(self) -> Self:
        """Give one of its own to another thread."""
        codec = ProfileCodec(self.codec.current)
        codec.take_after(self.codec)
        return replace(self, codec=codec)

    def renew(self, view: ControlView) -> bool:
        """Learn what was announced meanwhile; tells whether that lets us go on.

        A later generation with our definitions is ours too: somebody started it anew.
        """
        if view is self._seen:
            return False
        self._seen = view
        self.codec.learn({one.schema_id: one.schema for one in view.generations})
        same = _alike(view.generations, self.definitions, self.codec.current.schema_id)
        if same is None or same.number <= self.number:
            return False
        log.info("generation taken up", generation=same.number, before=self.number)
        _teach(self.codec, view.generations, same.number, same.since)
        self.number = same.number
        self.rebuilds = _rebuilds(view.generations, same.number)
        return True

    def rebuild_for(self, position: Position) -> Generation | None:
        """Give the generation whose rebuild a partition has to take over.

        That is one that it is in the middle of, or the newest that it has not begun.
        """
        newest = None
        for one in self.rebuilds:
            if (
                one.number > position.generation
                or one.rebuild["id"] == position.rebuild
            ):
                newest = one
        return newest


def agree(  # noqa: PLR0913 - what it joins
    view: ControlView,
    announcing: Callable[[], AbstractContextManager[Announcement]],
    read: Callable[[], ControlView],
    plan: Plan,
    codec: ProfileCodec,
    *,
    partitions: int,
    at: float,
    wishes: Wishes,
    ends: Callable[[], Sequence[int]],
    pseudonyms: str = "",
) -> Agreement:
    """Find or announce our generation; teaches `codec` the schemas of the others.

    `view` is what the topic holds, `read` reads it anew, `partitions` is how many the
    input has now, `at` the time in seconds since the epoch, `ends` asks where the
    partitions of the source end, should the application begin now, and
    `pseudonyms` the fingerprint of our key of pseudonyms.

    Raises `ConfigurationError` when an attribute's definition has changed.
    """
    definitions = {a.name: a.definition for a in plan.attributes}
    schema_id = codec.current.schema_id
    settled = settle(_readable(view), definitions, schema_id, wishes)
    began_at: Sequence[int] = []
    if settled.new:
        with announcing() as announcement:
            # Nobody else can announce now: what is read here stays true.
            view = read()
            settled = settle(_readable(view), definitions, schema_id, wishes)
            if settled.new:
                made = _generation(settled, plan, view, partitions=partitions, at=at)
                began_at = [] if view.generations else ends()
                made = replace(made, pseudonyms=pseudonyms, ends=began_at)
                announcement.put(made)
                log.info("configuration announced", generation=made.number)
                for name in sorted(wishes.reset):
                    log.warning("attribute starts anew", attribute=name)
    known = view.generations
    _teach(codec, known, settled.number, settled.since)
    return Agreement(
        settled.number,
        began_with(known, partitions),
        definitions,
        codec,
        _rebuilds(known, settled.number),
        next((one.ends for one in known if one.ends), began_at),
    )


def announce_rebuild(  # noqa: PLR0913 - what it joins
    announcing: Callable[[], AbstractContextManager[Announcement]],
    read: Callable[[], ControlView],
    plan: Plan,
    rebuild: Body,
    *,
    partitions: int,
    at: float,
    after: int,
) -> Generation:
    """Announce what a rebuild has computed, once: every replica takes it over.

    `rebuild` has at least its `id` and the names of its `attributes`; it was begun when
    `after` was the newest generation. Raises `PosConsumerError` where there is another
    one by now, whose attributes this would take away or bring back.
    """
    definitions = {a.name: a.definition for a in plan.attributes}
    schema_id = ProfileSchema.of(plan).schema_id
    wishes = Wishes(rebuilt=frozenset(rebuild["attributes"]))
    with announcing() as announcement:
        view = read()
        for one in _readable(view):
            if one.rebuild.get("id") == rebuild["id"]:
                return one
        newest = view.generations[-1].number
        if newest != after:
            raise PosConsumerError(
                f"The configuration has changed since the rebuild began: generation "
                f"{newest} was announced.",
                "Give the rebuild up with --abort, and begin one with that "
                "configuration.",
            )
        settled = settle(view.generations, definitions, schema_id, wishes)
        made = _generation(settled, plan, view, partitions=partitions, at=at)
        pseudonyms = view.generations[-1].pseudonyms
        made = replace(made, rebuild=rebuild, pseudonyms=pseudonyms)
        announcement.put(made)
        log.info("rebuild announced", generation=made.number, rebuild=rebuild["id"])
        return made


def began_with(known: Sequence[Generation], partitions: int) -> int:
    """Give how many partitions the input had when the application began."""
    return next((one.partitions for one in known if one.partitions), partitions)


def settle(
    known: Sequence[Generation],
    definitions: Mapping[str, str],
    schema_id: int,
    wishes: Wishes,
) -> Settled:
    """Find out which generation these definitions are, or are to be.

    `known` are the generations announced, oldest first; `schema_id` is that of the
    profile records that they make with this release. Pure, and the same for every
    replica that has the same configuration: who comes second finds what the first
    announced. Raises `ConfigurationError` where definitions have changed.
    """
    if unknown := sorted(wishes.reset - definitions.keys()):
        raise ConfigurationError(
            RESET,
            unknown[0],
            f"expected one of the attributes {', '.join(definitions)}",
        )
    if not known:
        return Settled(1, dict.fromkeys(definitions, 1), new=True)
    newest = known[-1]
    changed = {
        name
        for name, definition in definitions.items()
        if newest.definitions.get(name, definition) != definition
    } | (wishes.rebuilt & newest.definitions.keys())
    # An older configuration that starts again is what it was: announcing it anew would
    # make it the newest, and halt the replicas that were rolled forward.
    same = _alike(known, definitions, schema_id)
    intended = wishes.supersede or changed & wishes.reset
    if same is not None and (same is newest or not intended) and not wishes.rebuilt:
        return Settled(same.number, same.since, new=False)
    if refused := changed - wishes.reset - wishes.rebuilt:
        raise ConfigurationError.of(
            [_changed(name, definitions, newest) for name in sorted(refused)]
        )
    number = newest.number + 1
    kept = (newest.definitions.keys() & definitions.keys()) - changed
    return Settled(
        number,
        {
            name: newest.since.get(name, 1) if name in kept else number
            for name in definitions
        },
        new=True,
    )


def _rebuilds(known: Sequence[Generation], most: int) -> list[Generation]:
    return [one for one in known if one.rebuild and one.number <= most]


def _alike(
    known: Sequence[Generation], definitions: Mapping[str, str], schema_id: int
) -> Generation | None:
    """Give the newest generation with these definitions and this profile schema."""
    for one in reversed(known):
        if one.definitions == definitions and one.schema_id == schema_id:
            return one
    return None


def _generation(
    settled: Settled, plan: Plan, view: ControlView, *, partitions: int, at: float
) -> Generation:
    known = view.generations
    times = {one.number: one.at for one in known} | {settled.number: at}
    marks = {
        name: f"counts since generation {number}{_day(times[number])}"
        for name, number in settled.since.items()
        if number > 1
    }
    schema = ProfileSchema.of(plan, marks)
    return Generation(
        settled.number,
        schema.schema_id,
        schema.text,
        {a.name: a.definition for a in plan.attributes},
        began_with(known, partitions),
        at=at,
        since=settled.since,
    )


def _day(at: float) -> str:
    return f", {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" if at else ""


def teach(
    codec: ProfileCodec,
    known: Sequence[Generation],
    definitions: Mapping[str, str],
) -> None:
    """Let a codec read whatever there is, as the replicas of a configuration do."""
    same = _alike(known, definitions, codec.current.schema_id)
    _teach(codec, known, 0, {} if same is None else same.since)


def _teach(
    codec: ProfileCodec,
    known: Sequence[Generation],
    number: int,
    since: Mapping[str, int],
) -> None:
    codec.learn({one.schema_id: one.schema for one in known})
    codec.begin(number, since)


def _readable(view: ControlView) -> list[Generation]:
    """Refuse to start beside a generation that this release cannot read."""
    for key, problem in view.unreadable.items():
        if key.startswith("generation/"):
            raise PosConsumerError(
                f"The record {key} of the control topic cannot be read: {problem}.",
                "Run a release that can read it.",
            )
    return view.generations


def _changed(
    name: str, definitions: Mapping[str, str], newest: Generation
) -> ConfigurationError:
    now, was = _shown(definitions[name]), _shown(newest.definitions[name])
    return ConfigurationError(
        f"attributes.{name}",
        NoValue(f"is now {{ {now} }}"),
        f"the definition that stored profiles have is {{ {was} }}. Give the changed "
        f"attribute another name; or start it anew, with nothing, by `pos-consumer run "
        f"{RESET} {name}`; or compute it from the purchases by `pos-consumer rebuild "
        f"{name}`",
    )


def _shown(definition: str) -> str:
    parts = dict(json.loads(definition))
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in parts.items())
