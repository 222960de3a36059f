"""Erases visitors: on request, in each partition that this replica owns.

    asked --(erased rows, in transactions)--> delivering --(Target has them)-->
    delivered --(tombstones, in transactions)--> done

The request names visitors by the hashes that the store knows them by. Each is noted in
`state` as erased, so that no event up to that time counts any more; a profile is
replaced by an erased row, which the upload delivers, and is deleted only after that;
where Target would get nothing of an erased row, since there is no sentinel, at once.
Every step finds out from the store what is left of it, so that whoever comes after a
crash or a rebalance goes on where it was. Used by the aggregate stage's thread only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import structlog

from consumer.errors import PartitionHalt
from consumer.profiles import state_records
from consumer.profiles.rows import RowRenderer
from consumer.profiles.store import Changes
from consumer.stages.batch import PartitionOutput
from consumer.stages.requests import DELIVERING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.kafka.control_follower import ControlFollower
    from consumer.kafka.control_records import ControlView, Request
    from consumer.plan.compile import Plan
    from consumer.profiles.fold import Fold
    from consumer.profiles.record import ProfileCodec
    from consumer.stages.batch import KeyValue, OpenPartition

log = structlog.get_logger(__name__)

KIND: Final = "erase"
"""The kind of request; its body is `visitors`, store keys in hexadecimal."""

MOST: Final = 2_000  # visitors a transaction
LOOK_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 3_600.0
ASKED: Final = "asked"
DELIVERED: Final = "delivered"


@dataclass(slots=True)
class Job:
    """One request in one partition; `left` are the `keys` of the present step."""

    request: Request
    partition: int
    keys: list[bytes]
    state: str
    left: list[bytes]
    found: int = 0
    upto: int = 0
    look_at: float = 0.0

    @property
    def at(self) -> int:
        """When it was asked for, in milliseconds."""
        return int(self.request.at * 1_000)


@dataclass(slots=True)
class _Part:
    """What one transaction does for a job."""

    job: Job
    count: int
    output: PartitionOutput


@dataclass
class Erasure:
    """Serves the requests of kind `erase` that the control topic shows.

    `delivered(partition, offset)` tells whether Target has all profiles below an
    offset; it is asked now and then, and must return at once. Erased visitors are
    remembered for `keep` seconds.
    """

    codec: ProfileCodec
    fold: Fold
    control: ControlFollower
    clock: Clock
    delivered: Callable[[int, int], bool]
    generation: int
    keep: float
    plan: Plan
    _seen: ControlView | None = None
    _jobs: dict[tuple[str, int], Job] = field(default_factory=dict)
    _parts: list[_Part] = field(default_factory=list)
    _serving: dict[int, OpenPartition] = field(default_factory=dict)
    _ended: set[tuple[str, int]] = field(default_factory=set)
    _sweep_at: float = 0.0

    def begin(self, generation: int) -> None:
        """Write profiles of another generation from now on."""
        self.generation = generation

    @cached_property
    def _tells(self) -> bool:
        """Whether Target gets anything of an erased row: a sentinel, or a 0."""
        renderer = RowRenderer(self.plan.attributes, self.codec)
        rendered = renderer.render(self.fold.neutral(self.codec.schema)).to_pylist()[0]
        return any(rendered[name] is not None for name in renderer.attributes)

    def due(
        self, partitions: Mapping[int, OpenPartition]
    ) -> tuple[dict[int, PartitionOutput], dict[int, PartitionHalt]]:
        """Give what is to be written next; call `written` once it is committed.

        Also gives the partitions that must halt.
        """
        halts: dict[int, PartitionHalt] = {}
        self._parts = []
        if not self._busy(partitions):
            return {}, halts
        for number, partition in partitions.items():
            job = next(
                (one for one in self._jobs.values() if one.partition == number), None
            )
            try:
                if job is not None and (part := self._step(job, partition)) is not None:
                    self._parts.append(part)
            except PartitionHalt as halt:
                halts[number] = halt
        outputs = {part.job.partition: part.output for part in self._parts}
        return outputs or self._swept(partitions), halts

    def written(self, partitions: Mapping[int, OpenPartition]) -> None:
        """Go on after the commit of what `due` gave; tells the control topic."""
        for part in self._parts:
            job = part.job
            job.left = job.left[part.count :]
            if job.left or job.partition not in partitions:
                continue
            store = partitions[job.partition].store
            if job.state == ASKED:
                job.found = sum(map(bool, store.get_many(sorted(job.keys))))
            if job.state == ASKED and job.found and self._tells:
                job.state, job.upto = DELIVERING, store.tails.profiles
                self._report(job, DELIVERING, 0)
            elif job.state == ASKED and job.found:
                job.state, job.left = DELIVERED, job.keys
            else:
                self._report(job, "done", job.found)
                self._end(job)
                log.info("visitors erased", partition=job.partition, found=job.found)
        self._parts = []

    def _busy(self, partitions: Mapping[int, OpenPartition]) -> bool:
        """Take up what is new to us; tell whether there is anything to do."""
        view, before = self.control.view, self._serving
        stay = {n for n, one in partitions.items() if before.get(n) is one}
        if view is not self._seen or not stay == partitions.keys() == before.keys():
            self._seen, self._serving = view, dict(partitions)
            kept = {place: job for place, job in self._jobs.items() if place[1] in stay}
            self._jobs = {}
            for number in partitions:
                for request in view.open_requests(KIND, number):
                    place = request.id, number
                    if place in self._ended:
                        continue
                    job = kept.get(place) or self._begun(request, number, view)
                    if job is not None:
                        self._jobs[place] = job
        return bool(self._jobs) or self.clock.monotonic() >= self._sweep_at

    def _step(self, job: Job, partition: OpenPartition) -> _Part | None:
        """Work the next visitors of a job; None while it waits."""
        if job.state == DELIVERING:
            if self.clock.monotonic() < job.look_at:
                return None
            job.look_at = self.clock.monotonic() + LOOK_SECONDS
            if not self.delivered(job.partition, job.upto):
                return None
            job.state, job.left = DELIVERED, job.keys
        keys = job.left[:MOST]
        work = self._erased if job.state == ASKED else self._tombstones
        return _Part(job, len(keys), work(job, partition, sorted(set(keys))))

    def _erased(
        self, job: Job, partition: OpenPartition, keys: Sequence[bytes]
    ) -> PartitionOutput:
        """Note the visitors as erased, and replace the profiles there are."""
        held, stored = self._held(partition, keys)
        profiles: list[tuple[bytes, bytes]] = []
        visitors: list[bytes] = []
        if stored is not None:
            # One that is noted already and no erased row has bought since.
            past = [partition.suppressed.get(key, 0) < job.at for key in held]
            mine = np.flatnonzero(np.array(past) | (_erased_at(stored) == job.at))
            rows = self._rows(stored.take(pa.array(mine)), partition, job.at)
            profiles = list(
                zip([held[n] for n in mine], self.codec.encode(rows), strict=True)
            )
            visitors = rows.column("visitor").cast(pa.binary()).to_pylist()
        noted = {key: max(job.at, partition.suppressed.get(key, 0)) for key in keys}
        return self._output(
            partition,
            [*zip(visitors, (value for _, value in profiles), strict=True)],
            Changes(profiles=profiles, suppressed=noted),
        )

    def _tombstones(
        self, job: Job, partition: OpenPartition, keys: Sequence[bytes]
    ) -> PartitionOutput:
        """Delete the erased rows, but of those who have bought again since."""
        held, stored = self._held(partition, keys)
        gone: list[bytes] = []
        visitors: list[bytes] = []
        if stored is not None:
            rows = np.flatnonzero(_erased_at(stored) == job.at)
            gone = [held[row] for row in rows]
            listed = stored.column("visitor").take(pa.array(rows))
            visitors = listed.cast(pa.binary()).to_pylist()
        records: list[KeyValue] = [(visitor, None) for visitor in visitors]
        return self._output(partition, records, Changes(gone=gone))

    def _output(
        self,
        partition: OpenPartition,
        profiles: list[KeyValue],
        changes: Changes,
    ) -> PartitionOutput:
        position = replace(
            partition.position, day=partition.day, generation=self.generation
        )
        return PartitionOutput(
            profiles=profiles,
            state=[
                *state_records.to_records(
                    position, {}, [], suppressed=changes.suppressed
                )
            ],
            changes=replace(changes, position=position),
        )

    def _held(
        self, partition: OpenPartition, keys: Sequence[bytes]
    ) -> tuple[list[bytes], pa.RecordBatch | None]:
        found = partition.store.get_many(keys)
        pairs = [(k, v) for k, v in zip(keys, found, strict=True) if v is not None]
        if not pairs:
            return [], None
        held, values = zip(*pairs, strict=True)
        return list(held), self.codec.decode(list(values))

    def _rows(
        self, stored: pa.RecordBatch, partition: OpenPartition, at: int
    ) -> pa.RecordBatch:
        """Make the erased rows: the next version, and nothing of what was known."""
        count = stored.num_rows
        neutral = self.fold.neutral(self.codec.schema)
        columns = {
            name: neutral.column(name).take(pa.array(np.zeros(count, np.int64)))
            for name in neutral.schema.names
        }
        versions = stored.column("version").fill_null(0).to_numpy() + 1
        day = partition.day if self.plan.zone is not None else 0
        columns |= {
            "visitor": stored.column("visitor"),
            "version": pa.array(versions),
            "generation": pa.array(np.full(count, self.generation, np.int32)),
            "source_partition": stored.column("source_partition"),
            "source_offset": stored.column("source_offset"),
            "as_of_day": pa.array(np.full(count, day, np.int32)),
            "erased_at": pa.array(np.full(count, at, np.int64)),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _swept(
        self, partitions: Mapping[int, OpenPartition]
    ) -> dict[int, PartitionOutput]:
        """Forget erasures that are long past, now and then.

        By the stream's time where the clock is ahead: what is forgotten is lost.
        """
        if self.clock.monotonic() < self._sweep_at:
            return {}
        self._sweep_at = self.clock.monotonic() + SWEEP_SECONDS
        now, keep = int(self.clock.now() * 1_000), int(self.keep * 1_000)
        outputs = {}
        for number, partition in partitions.items():
            before = min(now, partition.position.stream_time) - keep
            old = [key for key, at in partition.suppressed.items() if at < before]
            if old:
                changes = Changes(suppressed=dict.fromkeys(old[:MOST]))
                outputs[number] = self._output(partition, [], changes)
        return outputs

    def _begun(self, request: Request, partition: int, view: ControlView) -> Job | None:
        """Take a request up where an earlier owner has left it; None if it is none."""
        try:
            keys = [bytes.fromhex(key) for key in request.body["visitors"]]
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a request to erase is unreadable", problem=repr(error))
            job = Job(request, partition, [], ASKED, [])
            self._report(job, "failed", 0)
            self._end(job)
            return None
        job = Job(request, partition, keys, ASKED, keys)
        known = view.progress(request.id).get(partition)
        if known is not None and known.state == DELIVERING:
            job.state, job.left = DELIVERING, []
            job.upto, job.found = int(known.body.get("upto", 0)), known.total
        return job

    def _end(self, job: Job) -> None:
        """Do no more; the view may not show yet what was just reported."""
        place = job.request.id, job.partition
        self._ended.add(place)
        self._jobs.pop(place, None)

    def _report(self, job: Job, state: str, done: int) -> None:
        self.control.control.put(
            job.request.progress(
                job.partition,
                state,
                self.clock.now(),
                done=done,
                total=job.found,
                body={"upto": job.upto},
            )
        )


def _erased_at(stored: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    times: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        stored.column("erased_at").fill_null(0).to_numpy().astype(np.int64)
    )
    return times
