"""The service: both stages in one process, from start to a clean stop.

    STARTING --> RUNNING --> DRAINING --> STOPPED
        |            |           |           ^
        +------------+-----------+--(error)--+

Starting checks everything that can be checked and fails with one sentence. A stop
reads top-down: stop taking, drain with a deadline, abort what is left, close.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from consumer import __version__
from consumer.composition import Composition
from consumer.errors import PosConsumerError
from consumer.kafka.announcement import Announcement
from consumer.kafka.clients import librdkafka_version, wait_for_broker
from consumer.kafka.control import Control
from consumer.kafka.control_follower import ControlFollower
from consumer.kafka.ends import source_ends
from consumer.kafka.topics import Cluster, TopicAdmin
from consumer.loading import load_plan
from consumer.plan.pseudonyms import Pseudonyms
from consumer.profiles.directory import StateDirectory
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.stages.generations import NO_WISHES, Wishes, agree
from consumer.stages.topic_problems import (
    cleanup_problem,
    count_problem,
    pseudonym_problem,
)
from consumer.stages.transaction_watch import TransactionWatch
from consumer.telemetry.health import Health
from consumer.telemetry.history import History
from consumer.telemetry.http import TelemetryServer
from consumer.telemetry.logging import REPEATS
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard
from consumer.telemetry.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.kafka.control_records import ControlView
    from consumer.plan.compile import Plan
    from consumer.stages.aggregate import AggregateStage
    from consumer.stages.rekey import RekeyStage
    from consumer.stages.upload import UploadStage

log = structlog.get_logger(__name__)

Stage = Literal["rekey", "aggregate", "upload"]
STAGES: Final[tuple[Stage, ...]] = ("rekey", "aggregate", "upload")
RETRY_SECONDS: Final = 1.0
CLOSING_SECONDS: Final = 2.0


class State(enum.Enum):
    """Where in its life the service is; see the module's diagram."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class Service:
    """Runs the stages until `stop` is called or one of them fails."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        stages: tuple[Stage, ...] = STAGES,
        wishes: Wishes = NO_WISHES,
        metrics: Metrics | None = None,
    ) -> None:
        """Take what to run; nothing starts yet.

        Of `stages`, `rekey` is left out where purchases are keyed by visitor.
        """
        self._settings = settings
        self._clock = clock
        self._stages = [s for s in stages if s != "rekey" or settings.rekeys]
        self._wishes = wishes
        self._stop = asyncio.Event()
        self.metrics = metrics or Metrics()
        self.health = Health()
        self.board = StatusBoard()
        self.state = State.STARTING
        self.port = settings.http.port

    def stop(self) -> None:
        """Ask for a clean stop; call it on the event loop's thread."""
        self._stop.set()

    async def run(self) -> None:
        """Run to the end. Raises the error that ended it, if one did."""
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        finally:
            self.state = State.STOPPED

    async def _run(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        plan, schemas = load_plan(settings)
        directory = None
        if {"rekey", "aggregate"} & {*self._stages}:
            directory = stack.enter_context(
                StateDirectory(
                    settings.aggregate.state_dir,
                    settings.application,
                    mapped=settings.aggregate.shares.mapped,
                )
            )
        self.metrics.describe_build(__version__, librdkafka_version())
        REPEATS.tell(self.board, self.metrics)
        stack.callback(REPEATS.tell, None, None)
        watchdog = Watchdog(self.health, self._clock)
        await stack.enter_async_context(watchdog)
        history = History(self.metrics, self.board, self._clock)
        sampling = asyncio.ensure_future(history.run())
        stack.callback(sampling.cancel)
        server = await stack.enter_async_context(
            TelemetryServer(
                settings.http,
                application=settings.application,
                metrics=self.metrics,
                health=self.health,
                board=self.board,
                clock=self._clock,
                watchdog=watchdog,
            )
        )
        self.port = server.port
        starting = self.health.component("start")
        starting.wait("waiting for a broker")
        if await self._unless_stopped(wait_for_broker(settings, self._clock)):
            return
        control = Control(settings)
        stack.callback(control.close)
        parts = await self._agreed(control, plan, schemas)
        if parts is None:
            return
        follower = parts.follower
        following = _in_thread("control", follower.run)
        stack.push_async_callback(_unfollow, follower, following)
        runners: list[asyncio.Future[None]] = []
        rekey = aggregate = upload = None
        if directory is not None and "rekey" in self._stages:
            rekey = parts.rekey(directory)
            runners.append(_in_thread("rekey", rekey.run))
        if directory is not None and "aggregate" in self._stages:
            aggregate = parts.aggregate(directory)
            runners.append(_in_thread("aggregate", aggregate.run))
        if "upload" in self._stages:
            upload = parts.upload()
            runners.append(asyncio.ensure_future(upload.run()))
        watch = TransactionWatch(
            settings,
            parts.cluster.partitions[settings.topics.profiles],
            clock=self._clock,
            health=self.health.component("transactions"),
        )
        stack.callback(asyncio.ensure_future(watch.run()).cancel)
        starting.ready()
        self.state = State.RUNNING
        log.info("running", stages=self._stages, port=self.port)
        stopping = asyncio.ensure_future(self._stop.wait())
        ends: list[asyncio.Future[Any]] = [*runners, following, stopping]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await self._drain([rekey, aggregate], upload, runners)

    async def _drain(
        self,
        readers: Sequence[RekeyStage | AggregateStage | None],
        upload: UploadStage | None,
        runners: list[asyncio.Future[None]],
    ) -> None:
        """Stop taking, drain within `drain_timeout`, abort what is left."""
        self.state = State.DRAINING
        log.info("draining", seconds=self._settings.drain_timeout)
        deadline = self._clock.monotonic() + self._settings.drain_timeout
        for reader in readers:
            if reader is not None:
                reader.drain()
        if upload is not None:
            await upload.drain(deadline)
        left = max(0.0, deadline - self._clock.monotonic())
        done, pending = await asyncio.wait(runners, timeout=left)
        if pending and upload is not None:
            log.error("not drained in time: aborting; the rest is redone at the start")
            upload.abort()
            await asyncio.wait(pending, timeout=1.0)
        for runner in done:
            runner.result()
        if pending:
            raise PosConsumerError(
                "The service did not drain in time.",
                "Nothing is lost: what was not committed is done again at the start.",
            )

    async def _agreed(
        self, control: Control, plan: Plan, schemas: Schemas
    ) -> Composition | None:
        """Agree, trying again until `startup_timeout` where only time is needed.

        None: the service was told to stop meanwhile.
        """
        deadline = self._clock.monotonic() + self._settings.startup_timeout
        while True:
            try:
                return await asyncio.to_thread(self._agree, control, plan, schemas)
            except PosConsumerError as error:
                if error.retriable and self._stop.is_set():
                    return None
                late = self._clock.monotonic() + RETRY_SECONDS >= deadline
                if not error.retriable or late:
                    raise
                log.warning("starting: trying again", what=error.what)
                await self._clock.sleep(RETRY_SECONDS)

    def _agree(self, control: Control, plan: Plan, schemas: Schemas) -> Composition:
        """Check the topics and settle on a generation; blocks."""
        settings = self._settings
        admin = TopicAdmin(settings)
        count, found = admin.require()
        for difference in found:
            log.warning(
                difference.what, topic=difference.topic, remedy=difference.remedy
            )
        topics = settings.topics
        names = [topics.purchases, topics.profiles, topics.state, topics.dead_letters]
        if settings.rekeys:
            names += [topics.source, topics.rekey_state]
        cluster = Cluster.of(admin.states(names))

        def read() -> ControlView:
            return control.read(lambda: not self._stop.is_set())

        view = read()
        secret = settings.purchases.pseudonym_key
        fingerprint = "" if secret is None else Pseudonyms(secret).fingerprint
        agreement = agree(
            view,
            partial(Announcement, settings),
            read,
            plan,
            ProfileCodec(ProfileSchema.of(plan)),
            partitions=count,
            at=self._clock.now(),
            wishes=self._wishes,
            ends=partial(source_ends, settings, cluster.partitions[topics.source]),
            pseudonyms=fingerprint,
        )
        forbidden = (
            cleanup_problem(found, settings)
            or count_problem(settings, agreement.began_with, count)
            or pseudonym_problem(view.generations, fingerprint)
        )
        return Composition(
            settings,
            self._clock,
            plan,
            schemas,
            cluster,
            control,
            ControlFollower(settings, control, view, self._clock),
            agreement,
            forbidden,
            self.metrics,
            self.board,
            self.health,
        )

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> bool:
        """Wait for a coroutine or for `stop`; tell whether it was the stop."""
        task = asyncio.ensure_future(waiting)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            return True
        stop.cancel()
        task.result()
        return False


async def _unfollow(follower: ControlFollower, following: asyncio.Future[None]) -> None:
    """End the follower of the control topic; only a bug makes it raise."""
    follower.stop()
    await asyncio.wait([following], timeout=CLOSING_SECONDS)
    if following.done():
        following.result()


def _in_thread(name: str, work: Callable[[], None]) -> asyncio.Future[None]:
    """Run blocking work on a daemon thread of its own, as a future.

    Daemon: a thread that hangs in a broker call cannot keep the process alive past
    its deadline; what it had not committed is redone at the next start.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(None)
        else:
            result.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # noqa: BLE001 - handed to the loop
            error = caught
        loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
