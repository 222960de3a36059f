"""A whole site in one process and on one clock: profiles, ledger, group and Target.

The upload stages are the real ones; what they talk to is kept in memory, so that an
hour passes in seconds and every run with the same seed is the same.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from consumer.config import Settings
from consumer.errors import Fenced
from consumer.kafka.control_records import ControlView, Record, Request, encode
from consumer.kafka.profiles_batches import (
    Assigned,
    Change,
    Lost,
    ProfileBatch,
    Revoked,
)
from consumer.kafka.profiles_ranges import KeyBatch, RangeBatch
from consumer.kafka.uploads_ledger import Entry, OpenEntries
from consumer.sandbox.target import Endpoint, Fault, FaultKind, TargetOptions, answers
from consumer.sandbox.target.account import Account
from consumer.sandbox.target.batchfile import BatchRefused, read_batch
from consumer.sandbox.target.journal import Call
from consumer.stages.upload import UploadStage
from consumer.stages.upload_connections import Connections
from consumer.target.client import STATUS_TIMEOUT
from consumer.target.outcome import Failure, Reply
from consumer.telemetry.health import Health
from consumer.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
    )

    from consumer.clock import Clock, ManualClock
    from consumer.kafka.rejected_rows import RejectedRow

CLIENT = "acme"
MOST_RECORDS = 500
HTTP = {
    FaultKind.HTTP_503: 503,
    FaultKind.HTTP_500: 500,
    FaultKind.HTTP_413: 413,
    FaultKind.UNAUTHORIZED: 401,
    FaultKind.FORGOTTEN: 404,
}


class Here:
    """Runs blocking work at once: the simulation has one thread."""

    async def __call__(
        self,
        function: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - passed on
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> Any:  # noqa: ANN401 - passed on
        """Return what the function returns."""
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    def close(self) -> None:
        """Have nothing to close."""


class Renderer:
    """Profiles as `visitor|version`: the version is also what Target gets."""

    attributes = ("version_seen",)

    def rows(self, values: Collection[bytes]) -> pa.RecordBatch:
        """Render like the real one."""
        pairs = [value.decode().split("|") for value in values]
        versions = [int(version) for _, version in pairs]
        return pa.record_batch(
            {
                "visitor": pa.array([visitor for visitor, _ in pairs], pa.string()),
                "version": pa.array(versions, pa.int64()),
                "generation": pa.array([1] * len(pairs), pa.int32()),
                "version_seen": pa.array([str(v) for v in versions], pa.string()),
            }
        )


class InProcessTarget:
    """The sandbox's account behind the client's own methods, without sockets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.account

    async def submit(  # noqa: PLR0911 - a return for each way it can end
        self, parts: tuple[bytes, memoryview], token: str, may_go: Callable[[], bool]
    ) -> Reply:
        """Take a file, with what is ordered to go wrong; an answer takes its time."""
        del token
        allowed = self._called(Endpoint.SUBMIT, sum(map(len, parts)))
        fault = self._account.fault(Endpoint.SUBMIT) if allowed else None
        await self._world.clock.sleep(self._world.random.uniform(0.2, 4.0))
        if not may_go():
            return Reply(failure=Failure.NOT_SENT, detail="kept back")
        if not allowed:
            self._account.violated(Endpoint.SUBMIT, "more calls a minute than allowed")
            return Reply(503)
        kind = fault.kind if fault else None
        if kind in HTTP:
            return Reply(HTTP[kind])
        if kind is FaultKind.LOST:
            return Reply(failure=Failure.NO_ANSWER, detail="lost")
        try:
            file = read_batch(b"".join(parts), self._account.options)
        except BatchRefused as refused:
            self._account.violated(Endpoint.SUBMIT, refused.answer)
            return Reply(200, {}, answers.refused(refused.answer).encode())
        fault = fault or self._account.fault(Endpoint.SUBMIT, file)
        kind = fault.kind if fault else None
        if fault and kind is FaultKind.UNSUCCESSFUL:
            return Reply(200, {}, answers.refused(fault.message).encode())
        batch = self._account.take(file, v2=True, fault=fault)
        if kind is FaultKind.NO_ANSWER:
            return Reply(failure=Failure.NO_ANSWER, detail="no answer")
        url = answers.status_url("http://status.example", CLIENT, batch)
        return Reply(200, {}, answers.accepted(url).encode())

    async def status(self, url: str, token: str) -> Reply:
        """Tell a batch's status."""
        del token
        self._world.asked.append(url)
        allowed = self._called(Endpoint.STATUS, 0)
        fault = self._account.fault(Endpoint.STATUS) if allowed else None
        await self._world.clock.sleep(self._world.random.uniform(0.05, 0.5))
        if not allowed:
            self._account.violated(Endpoint.STATUS, "more calls a minute than allowed")
            return Reply(503)
        if fault and fault.kind in HTTP:
            return Reply(HTTP[fault.kind])
        if fault and fault.kind is FaultKind.LATE_ANSWER:
            await self._world.clock.sleep(STATUS_TIMEOUT)
            return Reply(failure=Failure.NO_ANSWER, detail="no answer in time")
        if fault and fault.kind is FaultKind.LOST:
            return Reply(failure=Failure.NO_ANSWER, detail="lost")
        batch = self._account.batch(url.partition("batchId=")[2].partition("&")[0])
        if batch is None:
            return Reply(404)
        listed = self._account.options.failed_rows_listed
        text = answers.batch_status(batch, details=True, listed=listed)
        return Reply(200, {}, text.encode())

    async def fetch(self, visitor: str, token: str) -> Reply:
        """Tell a visitor's profile."""
        del token
        self._called(Endpoint.FETCH, 0)
        fault = self._account.fault(Endpoint.FETCH)
        await self._world.clock.sleep(self._world.random.uniform(0.05, 0.5))
        if fault and fault.kind in HTTP:
            return Reply(HTTP[fault.kind])
        found = self._account.stored(visitor)
        if found is None:
            missing = answers.no_profile(CLIENT, visitor)
            return Reply(404, {}, json.dumps(missing).encode())
        text = json.dumps(answers.profile(CLIENT, visitor, found))
        return Reply(200, {}, text.encode())

    def _called(self, endpoint: Endpoint, size: int) -> bool:
        now = self._account.clock.now()
        self._account.journal.calls.append(
            Call(now, endpoint, "", "", 0, metered=True, authorization=False, size=size)
        )
        return self._account.allow_call()


class Ledger:
    """The uploads ledger as a dictionary; every write is durable at once."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, str], Entry] = {}

    def write(self, entries: Iterable[Entry]) -> None:
        """Keep entries."""
        self.open.update({(entry.partition, entry.batch): entry for entry in entries})

    def end(self, batch: str, partitions: Iterable[int]) -> None:
        """Forget a batch."""
        for partition in partitions:
            self.open.pop((partition, batch), None)

    def read_open(self, partitions: Collection[int]) -> OpenEntries:
        """Return what is open."""
        return OpenEntries([e for (p, _), e in self.open.items() if p in partitions])


@dataclass(slots=True)
class Log:
    """One partition of `profiles`."""

    values: list[bytes] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    committed: int = 0


class Rejected:
    """The rejected rows."""

    def __init__(self) -> None:
        self.rows: list[RejectedRow] = []

    def write(self, rows: Iterable[RejectedRow]) -> None:
        """Keep rows."""
        self.rows += rows


class Ranges:
    """Reads the logs again."""

    def __init__(self, logs: list[Log]) -> None:
        self._logs = logs

    def read(
        self, partition: int, ranges: Iterable[tuple[int, int]]
    ) -> Iterator[RangeBatch]:
        """Yield what lies in the ranges."""
        log = self._logs[partition]
        for first, last in sorted(ranges):
            end = min(last + 1, len(log.values))
            yield RangeBatch(
                np.arange(first, end),
                np.array(log.timestamps[first:end], np.int64),
                log.values[first:end],
            )

    def keys(self, partition: int, end: int) -> Iterator[KeyBatch]:
        """Yield the keys of all records before an offset."""
        log = self._logs[partition]
        yield KeyBatch(
            [value.partition(b"|")[0] for value in log.values[:end]],
            np.arange(end),
            np.array(log.timestamps[:end], np.int64),
            np.array([len(value) for value in log.values[:end]], np.int32),
        )


class Reader:
    """One replica's membership of the group, and its view of the logs."""

    session_seconds = 45.0

    def __init__(self, world: World) -> None:
        self._world = world
        self.partitions = len(world.logs)
        self.committed_at = world.clock.monotonic()
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._epochs: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._told: dict[int, tuple[int, int]] = {}

    async def change(self) -> Change:
        """Wait for the next change of assignment."""
        return await self._changes.get()

    async def batch(self) -> ProfileBatch:
        """Wait for the next records of any partition that flows."""
        while True:
            for partition, at in self._positions.items():
                log = self._world.logs[partition]
                if at < len(log.values):
                    end = min(len(log.values), at + MOST_RECORDS)
                    self._positions[partition] = end
                    return ProfileBatch(
                        partition,
                        self._epochs[partition],
                        np.arange(at, end),
                        np.array(log.timestamps[at:end], np.int64),
                        log.values[at:end],
                        end,
                        end - at,
                        sum(map(len, log.values[at:end])),
                    )
            await self._world.clock.sleep(2.0)
            if (ended := self._new_end()) is not None:
                return ended

    def _new_end(self) -> ProfileBatch | None:
        """Tell once, as the real one does, where the end of a partition lies."""
        for partition, at in self._positions.items():
            if self._told.get(partition) != (self._epochs[partition], at):
                self._told[partition] = self._epochs[partition], at
                none = np.array([], np.int64)
                epoch = self._epochs[partition]
                return ProfileBatch(partition, epoch, none, none, [], at, 0, 0)
        return None

    def epoch(self, partition: int) -> int | None:
        """Return the epoch of a partition that is ours."""
        return self._epochs.get(partition)

    def begin(self, epochs: Mapping[int, int]) -> None:
        """Let partitions flow from their committed offset."""
        for partition, epoch in epochs.items():
            if self.epoch(partition) == epoch:
                self._positions[partition] = self._world.logs[partition].committed

    def halt(self, partition: int, epoch: int | None) -> None:
        """Stop a partition."""
        assert self.epoch(partition) == epoch
        self._world.halted.add(partition)
        self._positions.pop(partition, None)

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit offsets of partitions that are still ours."""
        if not self._epochs:
            raise Fenced("The group has moved on.")
        for partition, offset in offsets.items():
            if partition in self._epochs:
                log = self._world.logs[partition]
                assert offset >= log.committed, "a committed offset went back"
                log.committed = offset
        self.committed_at = self._world.clock.monotonic()

    def lag(self, offsets: dict[int, int]) -> dict[int, int]:
        """Return nothing: nobody looks."""
        del offsets
        return {}

    def assign(self, partitions: Iterable[int]) -> None:
        """Be given partitions."""
        new = dict.fromkeys(partitions, self._world.next_epoch())
        self._epochs.update(new)
        self._changes.put_nowait(Assigned(new))

    async def revoke(self, partitions: Collection[int]) -> None:
        """Be asked to leave partitions, and commit what the stage answers."""
        leaving = Revoked(tuple(partitions))
        self._changes.put_nowait(leaving)
        for _ in range(100):
            if leaving.answer.done():
                await self.commit(leaving.answer.result())
                break
            await self._world.clock.sleep(0.1)
        self._forget(partitions)

    def lose(self, partitions: Collection[int]) -> None:
        """Lose partitions without a word."""
        self._forget(partitions)
        self._changes.put_nowait(Lost(tuple(partitions)))

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._epochs.pop(partition, None)
            self._positions.pop(partition, None)


class Control:
    """The control topic of all replicas: what is put is seen by all at once."""

    def __init__(self) -> None:
        self.view = ControlView()
        self.control = self
        self._callbacks: list[Callable[[], object]] = []

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call back after each change."""
        self._callbacks.append(callback)

    def put(self, *records: Record) -> None:
        """Write records."""
        self._apply([(one.key.encode(), encode(one)) for one in records])

    def remove(self, keys: Iterable[str]) -> None:
        """Write tombstones."""
        self._apply([(key.encode(), None) for key in keys])

    def _apply(self, found: list[tuple[bytes, bytes | None]]) -> None:
        self.view = self.view.with_records(found, self.view.next_offset + len(found))
        for callback in self._callbacks:
            callback()


class Replica:
    """One process of the service: an upload stage, its reader, its task."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reader = Reader(world)
        self.owned: set[int] = set()
        self.metrics = Metrics()
        self.stage = UploadStage(
            world.settings,
            Renderer(),
            self.metrics,
            Health(),
            world.clock,
            connect=self._connect,
            control=cast("Any", world.control),
        )
        self.task = asyncio.create_task(self.stage.run())

    @asynccontextmanager
    async def _connect(self, _: Settings, __: Clock) -> AsyncIterator[Connections]:
        world = self.world
        connections: Any = Connections(
            cast("Any", self.reader),
            cast("Any", world.ledger),
            cast("Any", world.rejected),
            cast("Any", Ranges(world.logs)),
            cast("Any", InProcessTarget(world)),
            cast("Any", Here()),
            cast("Any", Here()),
        )
        yield connections

    @property
    def pending_bytes(self) -> int:
        """The memory that the waiting rows take by the stage's own count."""
        return self.stage._context.pending.size

    async def crash(self) -> None:
        """End without a word."""
        self.stage.abort()
        await asyncio.gather(self.task, return_exceptions=True)


class OwnTime:
    """Target's clock: nobody sets it, whatever is done to ours."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._start = clock.now() - clock.monotonic()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._start + self._clock.monotonic()

    def monotonic(self) -> float:
        """Return seconds that have passed."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._clock.sleep(seconds)


class World:
    """Everything, and the hands that move it."""

    def __init__(
        self,
        clock: ManualClock,
        options: TargetOptions,
        *,
        seed: int,
        partitions: int,
        target: dict[str, Any],
    ) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.account = Account(options, OwnTime(clock))
        self.logs = [Log() for _ in range(partitions)]
        self.ledger = Ledger()
        self.control = Control()
        self.rejected = Rejected()
        self.halted: set[int] = set()
        self.versions: dict[str, int] = {}
        self.asked: list[str] = []  # the addresses of statuses
        self.replicas: list[Replica] = []
        self._epoch = 0
        self.settings = Settings.model_validate(
            {
                "purchases": {"topic": "unused"},
                "attributes": {"version_seen": {"aggregate": "count"}},
                "target": {"client": CLIENT, **target},
            }
        )

    def next_epoch(self) -> int:
        """Return a number that no assignment had."""
        self._epoch += 1
        return self._epoch

    def order(self, *faults: Fault) -> None:
        """Let things go wrong."""
        for fault in faults:
            self.account.faults.order(fault)

    def change(self, visitor: str) -> None:
        """Write a visitor's next profile."""
        version = self.versions.get(visitor, 0) + 1
        self.versions[visitor] = version
        log = self.logs[sum(visitor.encode()) % len(self.logs)]
        log.values.append(f"{visitor}|{version}".encode())
        log.timestamps.append(int(self.clock.now() * 1_000))

    def request(self, body: dict[str, Any]) -> Request:
        """Ask for profiles to be sent anew."""
        request = Request.new("resync", self.clock.now(), len(self.logs), body)
        self.control.put(request)
        return request

    async def share(self, count: int) -> None:
        """Have `count` replicas, each with its part of the partitions."""
        while len(self.replicas) < count:
            self.replicas.append(Replica(self))
            await self.clock.run_for(0.1)  # it opens its connections
        order = list(range(len(self.logs)))
        self.random.shuffle(order)
        wanted = [set(order[number::count]) for number in range(count)]
        moves = asyncio.gather(
            *(
                replica.reader.revoke(replica.owned - keeps)
                for replica, keeps in zip(self.replicas, wanted, strict=True)
                if replica.owned - keeps
            )
        )
        while not moves.done():
            await self.clock.run_for(0.1)
        await moves
        for replica, keeps in zip(self.replicas, wanted, strict=True):
            if keeps - replica.owned:
                replica.reader.assign(sorted(keeps - replica.owned))
            replica.owned = keeps

    async def crash(self, number: int) -> None:
        """Kill a replica; its partitions go to a new one that knows nothing."""
        gone = self.replicas[number]
        await gone.crash()
        replica = self.replicas[number] = Replica(self)
        await self.clock.run_for(0.1)
        replica.owned = gone.owned
        replica.reader.assign(sorted(gone.owned))

    @property
    def settled(self) -> bool:
        """Whether everything is committed and every batch has come to its end."""
        return not self.ledger.open and all(
            log.committed == len(log.values) for log in self.logs
        )

    def unstick(self) -> None:
        """Let every stuck batch through after all, late as it is."""
        for batch in list(self.account.batches()):
            self.account.unstick(batch.id)

    def behind(self) -> dict[str, tuple[str | None, int]]:
        """Return visitors of whom Target holds another version than the latest."""
        held = {v: (self.account.profile(v) or {}) for v in self.versions}
        return {
            visitor: (held[visitor].get("version_seen"), version)
            for visitor, version in self.versions.items()
            if held[visitor].get("version_seen") != str(version)
        }

    async def close(self) -> None:
        """End all replicas."""
        for replica in self.replicas:
            await replica.crash()
