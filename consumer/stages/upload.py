"""The upload stage: profiles in, accepted and confirmed batches at Target out.

It joins the reader of `profiles`, the pending rows, the call budget, the client and the
ledger, and owns their lifecycle:

```
NEW --run--> RUNNING --drain--> DRAINING --> STOPPED
                |--abort-----------------------^
```
Draining takes no more records, sends what can still be sent before the deadline, leaves
uploads that are under way in the ledger, commits and closes. Aborting closes at once;
the next start finds the same ledger and the same committed offsets.

Over 300 lines: the stage's whole life, top-down, and what it composes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from consumer.errors import Fenced, PartitionHalt, PosConsumerError
from consumer.stages.call_gate import CallGate
from consumer.stages.upload_assignment import Assignment
from consumer.stages.upload_confirmation import Confirmation
from consumer.stages.upload_connections import connect
from consumer.stages.upload_context import UploadContext
from consumer.stages.upload_delivery import Delivery
from consumer.stages.upload_intake import Intake
from consumer.stages.upload_report import UploadReport
from consumer.stages.upload_resync import Resync
from consumer.stages.upload_sampling import Sampling
from consumer.stages.upload_token import REFUSED, TokenKeeper
from consumer.stages.waiting import wait_for
from consumer.target.batch_file import header
from consumer.target.budget import Slots
from consumer.target.micro_batch import Limits
from consumer.target.pending import Pending
from consumer.telemetry.logging import get_logger
from consumer.telemetry.status import StatusBoard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.control_follower import ControlFollower
    from consumer.kafka.profiles_reader import ProfilesReader
    from consumer.stages.upload_connections import Connections
    from consumer.stages.upload_context import Renderer
    from consumer.target.micro_batch import Sealed
    from consumer.telemetry.health import Health
    from consumer.telemetry.laps import Laps
    from consumer.telemetry.metrics import Metrics

    Connect = Callable[[Settings, Clock], AbstractAsyncContextManager[Connections]]

POSTS: Final = 4
"""Files under way at once: each is up to 50 MB of memory; four fill the account's 50
calls a minute while one call takes less than five seconds."""

FILES_WAITING: Final = 4
"""Files' worth of rows that may wait before the reader is paused."""

HELD_BYTES: Final = 256_000_000
"""Room for some four million visitors whose batches have not ended."""

TICK_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 60.0
_CLOSING_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 3.0  # the least that a call sent while draining is given

log = get_logger(__name__)


class State(StrEnum):
    """Where the stage is in its life; see the module."""

    NEW = "new"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class UploadStage:
    """Runs on one event loop; `run` returns after `drain`, or raises what ended it."""

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        settings: Settings,
        renderer: Renderer,
        metrics: Metrics,
        health: Health,
        clock: Clock,
        *,
        renew: Callable[[], bool] = lambda: False,
        board: StatusBoard | None = None,
        connect: Connect = connect,
        control: ControlFollower | None = None,
    ) -> None:
        """Touch nothing yet; broker and Target are first spoken to by `run`.

        `renew` blocks; see `UploadContext.readable`. Requests are those that `control`
        shows.
        """
        self._renew = renew
        self._control = control
        self._connect = connect
        self.state = State.NEW
        self._settings = settings
        self._renderer = renderer
        self._metrics = metrics
        self._clock = clock
        self._report = UploadReport(metrics, board or StatusBoard(clock.now), clock)
        self._health = health.component("upload", stalled_after=STALLED_SECONDS)
        self._degraded: dict[str, str] = {}
        self._context: UploadContext
        self._reader: ProfilesReader
        self._intake: Intake
        self._confirmation: Confirmation
        self._delivery: Delivery
        self._resync: Resync
        self._sampling: Sampling
        self._assignment: Assignment
        self._deliveries: set[asyncio.Task[None]] = set()
        self._committing = asyncio.Lock()
        self._turn = asyncio.Semaphore(1)
        self._posts = asyncio.Semaphore(POSTS)
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._deadline = float("inf")
        self._task: asyncio.Task[None] | None = None
        self._aborted = False

    async def run(self) -> None:
        """Upload until drained; a PosConsumerError tells what a person must mend."""
        self._task = asyncio.current_task()
        if self._aborted:
            raise asyncio.CancelledError
        self.state = State.RUNNING
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack)
                await self._work()
        except BaseExceptionGroup as group:
            known, unknown = group.split(PosConsumerError)
            if known is None or unknown is not None:
                raise
            raise _first(known) from group
        finally:
            self.state = State.STOPPED
            self._health.stop_watching()
            self._stopped.set()

    async def drain(self, deadline: float) -> None:
        """Stop in order by `deadline` (monotonic) and return when it is done."""
        self._deadline = deadline
        self._stopping.set()  # a `run` that has yet to begin will end at once
        if self.state is State.RUNNING:
            self.state = State.DRAINING
            await self._stopped.wait()

    def abort(self) -> None:
        """Stop at once; `run` ends as cancelled, also one that has yet to begin."""
        self._aborted = True
        if self._task is not None:
            self._task.cancel()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        target = settings.target
        to = await stack.enter_async_context(self._connect(settings, self._clock))
        self._reader = to.reader
        first_line = header(target.key, self._renderer.attributes)
        limits = Limits(
            max_rows=target.batch.max_rows,
            most_rows=target.batch.most_rows,
            max_bytes=target.batch.max_bytes,
            max_age=target.batch.max_age,
            capacity=FILES_WAITING * target.batch.max_bytes + HELD_BYTES,
        )
        budget = target.budget
        slots = Slots(budget.calls_per_minute - budget.reserve, self._reader.partitions)
        self._report.budget(slots.per_minute, slots.partitions)
        calling: set[int] = set()
        self._context = UploadContext(
            settings=settings,
            clock=self._clock,
            metrics=self._metrics,
            report=self._report,
            renderer=self._renderer,
            pending=Pending(limits, len(first_line)),
            ledger=to.ledger,
            rejected=to.rejected,
            ranges=to.ranges,
            client=to.client,
            worker=to.worker,
            blocking=to.blocking,
            gate=CallGate(slots, self._clock, lambda: calling, self._fresh),
            commit=self._commit,
            halt=self._halt,
            renew=self._renew,
            give_up=self._give_up,
            refused=self._refused,
            failing=self._failing,
            confirmed=self._confirmed,
            calling=calling,
        )
        if to.tokens is not None:
            self._context.keeper = TokenKeeper(
                to.tokens.fetch,
                self._clock,
                hold=self._context.gate.hold,
                release=self._context.gate.release,
                told=self._context.show_expiry,
            )
        self._intake = Intake(self._context, self._reader)
        self._sampling = Sampling(self._context)
        self._confirmation = Confirmation(self._context, self._sampling)
        self._delivery = Delivery(self._context, self._confirmation, first_line)
        self._resync = Resync(self._context, self._control)
        self._assignment = Assignment(
            self._context,
            self._reader,
            self._confirmation,
            self._delivery,
            self._resync,
            left=lambda partition: self._degrade(f"partition {partition}", ""),
        )

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            intake = group.create_task(self._intake.run())
            sealing = group.create_task(self._seal(group))
            others = [
                group.create_task(work)
                for work in (
                    self._assignment.run(),
                    self._context.gate.run(),
                    self._confirmation.run(),
                    self._resync.run(),
                    self._sampling.run(),
                    self._tick(),
                )
            ]
            if self._context.keeper is not None:
                others.append(group.create_task(self._context.keeper.run()))
            self._health.ready()
            await self._stopping.wait()
            intake.cancel()
            sealing.cancel()
            await asyncio.wait([intake, sealing])
            await self._finish(group)
            for task in (*self._deliveries, *others):
                task.cancel()
        await self._commit()
        left = await self._context.worker(lambda: self._context.pending.rows_left)
        log.info(
            "Uploads are drained; rows that are left are sent at the next start.",
            rows_left=left,
        )

    async def _finish(self, group: asyncio.TaskGroup) -> None:
        """Send what can still be sent, and wait for what is under way."""
        context = self._context
        while self._left() > _CALL_SECONDS:
            ahead = context.gate.seconds_to_next()
            if ahead is None or ahead > self._left() - _CALL_SECONDS:
                break
            now = self._clock.monotonic()
            epochs = dict(context.held)
            sealed = await context.worker(context.pending.seal, now, at_once=True)
            if sealed is None:
                break
            turn = asyncio.Event()
            self._deliver(group, sealed, turn.set, epochs)
            await wait_for(turn, self._clock, self._left() - _CALL_SECONDS)
        if self._deliveries and self._left() > 0:
            under_way = asyncio.gather(*self._deliveries, return_exceptions=True)
            finished = asyncio.Event()
            under_way.add_done_callback(lambda _: finished.set())
            await wait_for(finished, self._clock, self._left())

    def _left(self) -> float:
        """Return seconds until the drain must come to its end."""
        return self._deadline - self._clock.monotonic() - _CLOSING_SECONDS

    async def _seal(self, group: asyncio.TaskGroup) -> None:
        """Seal a micro-batch when one is due and the one before has its slot.

        Waiting for the turn lets the next file grow meanwhile: the fewer calls are
        left, the fuller it gets.
        """
        clock = self._clock
        with self._metrics.laps("sealing", "seal", clock.monotonic) as laps:
            while True:
                laps.to("wait_budget")
                await self._turn.acquire()
                laps.to("wait_posts")
                await self._posts.acquire()
                laps.to("seal")
                sealed, epochs = await self._next_file(laps)
                granted = _once(self._turn.release)
                task = self._deliver(group, sealed, granted, epochs)
                task.add_done_callback(lambda _: self._posts.release())

    async def _next_file(self, laps: Laps) -> tuple[Sealed, dict[int, int]]:
        """Wait until a file is due, and seal it; with what was held before that."""
        context = self._context
        while True:
            context.changed.clear()
            now = self._clock.monotonic()
            due = await context.worker(context.pending.due_in, now)
            if due is None or due > 0:
                with laps.step("idle"):
                    await wait_for(context.changed, self._clock, due)
            now = self._clock.monotonic()
            epochs = dict(context.held)
            sealed = await context.worker(context.pending.seal, now)
            if sealed is not None:
                return sealed, epochs

    def _deliver(
        self,
        group: asyncio.TaskGroup,
        sealed: Sealed,
        granted: Callable[[], None],
        epochs: Mapping[int, int],
    ) -> asyncio.Task[None]:
        task = group.create_task(self._delivery.deliver(sealed, granted, epochs))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)
        return task

    async def _tick(self) -> None:
        """Commit and show every few seconds that the stage is alive."""
        worker, pending = self._context.worker, self._context.pending
        while True:
            self._health.beat(self._clock.monotonic())
            await self._commit()
            rows, size = await worker(lambda: (pending.waiting, pending.size))
            self._metrics.pending_rows.set(rows)
            self._metrics.pending_bytes.set(size)
            # Membership counts for half a session: commits are due well within it.
            pause = min(TICK_SECONDS, self._reader.session_seconds / 8)
            await self._clock.sleep(pause)

    async def _commit(self) -> None:
        """Commit what is accepted or accounted for; unchanged offsets too.

        The answer confirms that the partitions are ours: calls depend on it.
        """
        async with self._committing:
            worker, pending = self._context.worker, self._context.pending
            offsets = await worker(pending.next_offsets)
            try:
                await self._reader.commit(offsets)
            except PosConsumerError as error:
                if not (error.retriable or isinstance(error, Fenced)):
                    raise
                log.warning("Offsets could not be committed.", error=str(error))
        self._report.lags(self._reader.lag(offsets), offsets)

    async def _fresh(self) -> bool:
        """Whether the group has confirmed our membership lately enough to call."""
        if not self._confirmed():
            await self._commit()
        return self._confirmed()

    def _confirmed(self, partitions: Iterable[int] = ()) -> bool:
        reader, context = self._reader, self._context
        age = self._clock.monotonic() - reader.committed_at
        return age < reader.session_seconds / 2 and all(
            # a loss may wait for the loop, behind a partition that is taken over
            reader.epoch(number) == context.held.get(number)
            for number in partitions
        )

    async def _halt(self, partition: int, halt: PartitionHalt) -> None:
        """Stop one partition until a person has acted; its offsets stay."""
        self._reader.halt(partition, self._context.held.get(partition))
        self._resync.drop([partition])
        self._confirmation.drop([partition])
        await self._context.worker(self._context.pending.drop, [partition])
        self._report.halted(partition, halt.reason)
        self._degrade(f"partition {partition}", str(halt))
        log.error(
            "A partition is halted.",
            partition=partition,
            reason=halt.reason,
            error=str(halt),
        )

    async def _give_up(self, partition: int, halt: PartitionHalt) -> None:
        """Halt one partition and leave its batches, too, to its next owner."""
        self._context.calling.discard(partition)
        # It may be a job of this partition that met it, and is cancelled on the way.
        await asyncio.shield(asyncio.ensure_future(self._halt(partition, halt)))
        self._context.held.pop(partition, None)

    def _refused(self, reason: str) -> None:
        """Note that Target refuses the token (`reason`), or takes it again (empty)."""
        if reason and self._context.keeper is not None:
            self._context.keeper.refused()
        if reason and "target" not in self._degraded:
            log.error(REFUSED, reason=reason)
        elif not reason and "target" in self._degraded:
            log.info("Target takes the profile token again; uploads go on.")
        self._degrade("target", reason and f"{REFUSED} ({reason})")

    def _failing(self, reason: str) -> None:
        """Note that Target has taken no file for a while, or that it does again."""
        if reason and "delivery" not in self._degraded:
            log.error(
                "Target takes no files; rows wait and nothing is lost. Check "
                "target.endpoint and target.client (`pos-consumer doctor` asks "
                "Target), and Adobe's status page.",
                reason=reason,
                endpoint=self._settings.target.endpoint,
                client=self._settings.target.client,
            )
        elif not reason and "delivery" in self._degraded:
            log.info("Target takes files again.")
        self._degrade("delivery", reason and f"Target takes no files ({reason})")

    def _degrade(self, name: str, reason: str) -> None:
        """Show what is halted, or no longer (an empty reason)."""
        if reason:
            self._degraded[name] = reason
        else:
            self._degraded.pop(name, None)
        self._health.degrade(self._degraded)


def _once(function: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `function` the first time only."""
    left = [function]

    def call() -> None:
        if left:
            left.pop()()

    return call


def _first(group: BaseExceptionGroup[PosConsumerError]) -> PosConsumerError:
    """Return one error of a group, which has at least one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PosConsumerError)  # noqa: S101 - for the type checker
    return error
