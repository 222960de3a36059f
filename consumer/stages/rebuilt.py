"""Brings what a rebuild has computed beside a partition, up to the partition's offset.

A rebuild is an application of its own: it has folded `purchases` into topics of its own
and stopped near their end, before its generation was announced. So those topics do not
change any more. The owner of a partition restores them into a store beside its own,
folds the purchases from where the rebuild stopped to where the partition is, by the
same code and with the rebuild's own event ids, and then has both sides at one offset.
Done again, after a crash or by the next owner, it comes to the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import structlog

from consumer.errors import PartitionHalt
from consumer.kafka.excerpt import Excerpt
from consumer.kafka.topics import MAX_RECORD_BYTES, RECORD_OVERHEAD, TopicAdmin
from consumer.profiles.fold import Fold
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.write_back import WriteBackStore, ids_seen
from consumer.stages.batch import BatchWork, OpenPartition
from consumer.stages.copies import Copies
from consumer.stages.joining import Joining

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from consumer.config import Settings
    from consumer.events.decode import Decoder
    from consumer.frames import Records
    from consumer.kafka.control_records import ControlView, Generation
    from consumer.plan.compile import Plan
    from consumer.profiles.directory import StateDirectory
    from consumer.profiles.store import PartitionStore, Tails

log = structlog.get_logger(__name__)

Place = tuple[str, int]

FOLD_SECONDS: Final = 0.2  # at once, between what the other partitions need
CACHE_BYTES: Final = 32_000_000
LARGEST_RECORD: Final = MAX_RECORD_BYTES - RECORD_OVERHEAD


@dataclass(slots=True)
class Beside:
    """One partition of a rebuild, on its way to the offset `target`.

    `suppressed` are the visitors that were erased, as the partition's owner knows them.
    """

    number: int
    generation: Generation
    target: int
    store: PartitionStore
    open: OpenPartition | None = None
    work: BatchWork | None = None
    suppressed: dict[bytes, int] = field(default_factory=dict)

    @property
    def rebuild(self) -> str:
        """The rebuild's id."""
        return str(self.generation.rebuild["id"])

    @property
    def topics(self) -> tuple[str, str]:
        """The rebuild's topics of profiles and of state."""
        names = self.generation.rebuild
        return str(names["profiles"]), str(names["state"])

    def places(self, tails: Tails | None = None) -> dict[Place, int]:
        """Give where the restore of its topics goes on."""
        tails = tails or self.store.tails
        profiles, state = self.topics
        return {
            (profiles, self.number): tails.profiles,
            (state, self.number): tails.state,
        }


class Rebuilt:
    """Opens, brings up and hands over what rebuilds have computed. One thread."""

    def __init__(
        self,
        settings: Settings,
        directory: StateDirectory,
        plan: Plan,
        decoder: Decoder,
        read: Callable[[], ControlView],
    ) -> None:
        """Fold by the plan; nothing is read yet. `read` reads `control`, and blocks."""
        self._read = read
        self._settings = settings
        self._directory = directory
        self._plan = plan
        self._decoder = decoder
        self._admin: TopicAdmin | None = None
        self._excerpt: Excerpt | None = None
        self._reading: tuple[int, Generator[Records]] | None = None
        self._works: dict[int, tuple[BatchWork, ProfileCodec, bytes]] = {}

    def open(self, number: int, generation: Generation, target: int) -> Beside:
        """Open a partition's store of a rebuild; its places are to be restored.

        Raises `PartitionHalt` where the rebuild's topics are gone.
        """
        rebuild = str(generation.rebuild["id"])
        store = self._directory.open(number, f"rebuild-{rebuild}")
        beside = Beside(number, generation, target, store)
        if self._admin is None:
            self._admin = TopicAdmin(self._settings)
        missing = {*beside.topics} - self._admin.states(beside.topics).keys()
        if missing:
            store.close()
            raise _lost(beside, f"its topics {', '.join(sorted(missing))} are gone")
        position = store.position
        if position is not None and position.next_offset > target:
            store.close()
            self._directory.discard(number, f"rebuild-{rebuild}")
            beside.store = self._directory.open(number, f"rebuild-{rebuild}")
        return beside

    def bring_up(self, beside: Beside) -> bool:
        """Fold some purchases towards the target; tells whether it is reached.

        Call it once the places are restored, and again until it is.
        """
        if beside.open is None:
            beside.open = self._opened(beside)
        until = time.monotonic() + FOLD_SECONDS
        while beside.open.position.next_offset < beside.target:
            if not self._fold_some(beside, beside.open) or time.monotonic() > until:
                return False
        self._stop_reading(beside.number)
        beside.open.store.flush(time.monotonic())
        return True

    def joining(self, beside: Beside, live: int) -> Joining:
        """Hand the store over, at its target; `live` are the profiles there are."""
        _, codec, nothing = self._work(beside.generation)
        return Joining(
            beside.store,
            codec,
            rebuild=beside.rebuild,
            generation=beside.generation.number,
            names=self._names(beside.generation),
            nothing=nothing,
            live=live,
        )

    def close(self, beside: Beside) -> None:
        """Give a partition up on its way; the store stays for its return."""
        self._stop_reading(beside.number)
        beside.store.close()

    def discard(self, number: int, rebuild: object) -> None:
        """Delete a store that is not needed any more, if there is one."""
        self._directory.discard(number, f"rebuild-{rebuild}")

    def _opened(self, beside: Beside) -> OpenPartition:
        position = beside.store.position
        if position is None:
            raise _lost(beside, "its topics hold nothing of this partition")
        if position.next_offset > beside.target:
            raise _lost(
                beside,
                f"it counts up to offset {position.next_offset}, the partition's own "
                f"profiles only up to {beside.target}",
            )
        store = WriteBackStore(
            beside.store, memory=lambda: CACHE_BYTES, now=time.monotonic()
        )
        # Read only now: it tells of every copy before the target.
        begins = {beside.number: position.began or 0}
        copies = Copies.of(self._read(), position.topic_id, begins)
        beside.work, _, _ = self._made(beside.generation, copies)
        horizon = self._settings.aggregate.deduplicate
        seen = ids_seen(store, horizon, position.stream_time)
        log.info(
            "bringing a rebuild up to its partition",
            partition=beside.number,
            rebuild=beside.rebuild,
            next_offset=position.next_offset,
            target=beside.target,
        )
        return OpenPartition(
            beside.number, store, seen, position, suppressed=beside.suppressed
        )

    def _fold_some(self, beside: Beside, partition: OpenPartition) -> bool:
        """Fold one batch; False if another partition is being read."""
        number = beside.number
        if self._reading is None:
            self._reading = number, self._purchases(beside, partition)
        if self._reading[0] != number:
            return False
        records = next(self._reading[1], None)
        if records is None:  # behind the last record lie only markers
            reached = replace(partition.position, next_offset=beside.target)
            partition.position = reached
            return True
        work = beside.work or self._work(beside.generation)[0]
        prepared = work.prepare(records, {number: partition})
        for halt in prepared.halts.values():
            raise halt
        partition.commit(prepared.outputs[number].changes, time.monotonic())
        return True

    def _stop_reading(self, number: int) -> None:
        """Let another partition have its turn."""
        if self._reading is not None and self._reading[0] == number:
            self._reading[1].close()
            self._reading = None

    def _purchases(
        self, beside: Beside, partition: OpenPartition
    ) -> Generator[Records, None, None]:
        if self._excerpt is None:
            topic = self._settings.topics.purchases
            self._excerpt = Excerpt(self._settings, topic)
        start = partition.position.next_offset
        low, _ = self._excerpt.bounds(beside.number)
        if low > start:
            raise _lost(
                beside, f"retention has removed purchases from {start} to {low}"
            )
        yield from self._excerpt.read(beside.number, start, beside.target)

    def _names(self, generation: Generation) -> list[str]:
        """Give the rebuilt attributes that are still what they were."""
        ours = {a.name: a.definition for a in self._plan.attributes}
        return [
            name
            for name in generation.rebuild["attributes"]
            if ours.get(name) == generation.definitions.get(name)
        ]

    def _work(self, generation: Generation) -> tuple[BatchWork, ProfileCodec, bytes]:
        if generation.number not in self._works:
            self._works[generation.number] = self._made(generation, None)
        return self._works[generation.number]

    def _made(
        self, generation: Generation, copies: Copies | None
    ) -> tuple[BatchWork, ProfileCodec, bytes]:
        return partial_work(
            self._settings,
            self._plan,
            self._decoder,
            self._names(generation),
            {generation.rebuild["schema_id"]: generation.rebuild["schema"]},
            copies=copies,
        )


def partial_work(  # noqa: PLR0913 - what a rebuild is
    settings: Settings,
    plan: Plan,
    decoder: Decoder,
    names: Sequence[str],
    schemas: Mapping[int, str] = MappingProxyType({}),
    *,
    copies: Copies | None = None,
) -> tuple[BatchWork, ProfileCodec, bytes]:
    """Make the work of a rebuild: all of the plan is mapped, some of it is folded.

    So an event that the configuration refuses is refused by both alike. Also gives the
    codec of its profiles, which reads `schemas` too, and a profile of no events.
    """
    some = replace(
        plan, attributes=tuple(a for a in plan.attributes if a.name in names)
    )
    codec = ProfileCodec(ProfileSchema.of(some))
    codec.learn(schemas)
    work = BatchWork(
        some,
        decoder,
        codec,
        generation=1,
        largest_record=LARGEST_RECORD,
        max_ahead=settings.purchases.max_ahead,
        copies=copies,
    )
    (nothing,) = codec.encode(Fold(some, 1).neutral(codec.schema))
    return work, codec, nothing


def _lost(beside: Beside, why: str) -> PartitionHalt:
    return PartitionHalt(
        "rebuild_lost",
        "Run `pos-consumer rebuild --anew`, then restart.",
        what=f"Partition {beside.number} cannot take over what the rebuild "
        f"{beside.rebuild} has computed: {why}.",
    )
