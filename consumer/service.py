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
from consumer.errors import PartitionHalt, PosConsumerError
from consumer.events.dead_letter_limits import DeadLetterLimits
from consumer.events.decode import Decoder
from consumer.events.framing import Header, Prefix
from consumer.events.grace import SchemaGrace
from consumer.events.json_codec import JsonCodec
from consumer.events.mapping import Mapper
from consumer.events.registered import RegisteredSchemas, cache_folder
from consumer.events.schemas import OneSchema, SchemaFolder, read_codec
from consumer.kafka.announcement import Announcement
from consumer.kafka.changelog import Changelog
from consumer.kafka.clients import librdkafka_version, wait_for_broker
from consumer.kafka.control import Control
from consumer.kafka.control_follower import ControlFollower
from consumer.kafka.delivered import Delivered
from consumer.kafka.input import InputConsumer
from consumer.kafka.registry import Registry
from consumer.kafka.topics import Cluster, TopicAdmin
from consumer.plan.compile import Plan, compile_plan
from consumer.plan.pseudonyms import Pseudonyms
from consumer.profiles.agenda import Agenda
from consumer.profiles.directory import StateDirectory
from consumer.profiles.fold import Fold
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer, check_rendering
from consumer.profiles.warm import warm_rendering
from consumer.stages.aggregate import AggregateStage
from consumer.stages.batch import BatchWork
from consumer.stages.client_report import ClientReport
from consumer.stages.daily import Daily
from consumer.stages.erasure import Erasure
from consumer.stages.generations import NO_WISHES, Agreement, Wishes, agree
from consumer.stages.lifecycle import Partitions
from consumer.stages.producers import Producers
from consumer.stages.rebuild_progress import RebuildProgress
from consumer.stages.rebuilt import Rebuilt
from consumer.stages.rekey import RekeyStage
from consumer.stages.rekey_positions import SourcePositions
from consumer.stages.rekey_report import RekeyReport
from consumer.stages.rekeying import Rekeying
from consumer.stages.tick import Tick
from consumer.stages.topic_problems import (
    cleanup_problem,
    count_problem,
    pseudonym_problem,
)
from consumer.stages.transaction_watch import TransactionWatch
from consumer.stages.upload import UploadStage
from consumer.stages.upload_connections import connect
from consumer.target import percent
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
    from consumer.events.decode import Codec, Schemas
    from consumer.kafka.control_records import ControlView

log = structlog.get_logger(__name__)

Stage = Literal["rekey", "aggregate", "upload"]
STAGES: Final[tuple[Stage, ...]] = ("rekey", "aggregate", "upload")
# Longer than the longest single call that a loop makes to a broker.
STALLED_AFTER_SECONDS: Final = 120.0
RETRY_SECONDS: Final = 1.0
CLOSING_SECONDS: Final = 2.0
# Kept free below the topic's limit, for key, headers and the record's own frame.
RECORD_OVERHEAD: Final = 2_048


class State(enum.Enum):
    """Where in its life the service is; see the module's diagram."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


def load_plan(settings: Settings) -> tuple[Plan, Schemas]:
    """Compile the configuration against the newest schema.

    Reads files only, unless a schema registry is configured.
    """
    schemas = schemas_of(settings)
    _, codec = schemas.newest()
    return checked_plan(settings, codec), schemas


def schemas_of(settings: Settings) -> Schemas:
    """Give the source of writer schemas that is configured."""
    purchases = settings.purchases
    if purchases.format == "json":
        codec = JsonCodec(purchases.columns)
        return OneSchema(codec, "[purchases.columns]", is_json=True)
    if purchases.schema_file is not None:
        file = purchases.schema_file
        return OneSchema(read_codec(file), f"The schema {file}")
    framing = Header() if purchases.schema_id == "header" else Prefix()
    if purchases.schema_registry is None:
        return SchemaFolder(purchases.schemas, framing)
    folder = cache_folder(
        settings.aggregate.state_dir, purchases.schema_registry, purchases.subject
    )
    registry = Registry(purchases.schema_registry, purchases.registry)
    return RegisteredSchemas(registry, purchases.subject, folder, framing=framing)


def checked_plan(settings: Settings, codec: Codec) -> Plan:
    """Compile the configuration against one schema and try what it renders."""
    plan = compile_plan(settings, codec.sample_frame())
    for attribute in plan.attributes:
        check_rendering(attribute)
    return plan


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
        self._forbidden: PartitionHalt | None = None
        self._follower: ControlFollower
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
        # One a stage: each takes a later generation up at a moment of its own.
        codec = ProfileCodec(ProfileSchema.of(plan))
        control = Control(settings)
        stack.callback(control.close)
        agreed = await self._agreed(control, plan, codec)
        if agreed is None:
            return
        cluster, agreement = agreed
        following = _in_thread("control", self._follower.run)
        stack.push_async_callback(self._unfollow, following)
        runners: list[asyncio.Future[None]] = []
        rekey = aggregate = upload = None
        if directory is not None and "rekey" in self._stages:
            rekey = self._rekey(plan, schemas, directory, cluster)
            runners.append(_in_thread("rekey", rekey.run))
        if directory is not None and "aggregate" in self._stages:
            aggregate = self._aggregate(
                plan,
                schemas,
                codec,
                directory,
                cluster=cluster,
                control=control,
                agreement=agreement,
            )
            runners.append(_in_thread("aggregate", aggregate.run))
        if "upload" in self._stages:
            upload = self._upload(plan, control, agreement)
            runners.append(asyncio.ensure_future(upload.run()))
        watch = TransactionWatch(
            settings,
            cluster.partitions[settings.topics.profiles],
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

    async def _unfollow(self, following: asyncio.Future[None]) -> None:
        """End the follower of the control topic; only a bug makes it raise."""
        self._follower.stop()
        await asyncio.wait([following], timeout=CLOSING_SECONDS)
        if following.done():
            following.result()

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
        self, control: Control, plan: Plan, codec: ProfileCodec
    ) -> tuple[Cluster, Agreement] | None:
        """Agree, trying again until `startup_timeout` where only time is needed.

        None: the service was told to stop meanwhile.
        """
        deadline = self._clock.monotonic() + self._settings.startup_timeout
        while True:
            try:
                return await asyncio.to_thread(self._agree, control, plan, codec)
            except PosConsumerError as error:
                if error.retriable and self._stop.is_set():
                    return None
                late = self._clock.monotonic() + RETRY_SECONDS >= deadline
                if not error.retriable or late:
                    raise
                log.warning("starting: trying again", what=error.what)
                await self._clock.sleep(RETRY_SECONDS)

    def _agree(
        self, control: Control, plan: Plan, codec: ProfileCodec
    ) -> tuple[Cluster, Agreement]:
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
            codec,
            partitions=count,
            at=self._clock.now(),
            wishes=self._wishes,
            pseudonyms=fingerprint,
        )
        self._follower = ControlFollower(settings, control, view, self._clock)
        self._forbidden = (
            cleanup_problem(found, settings)
            or count_problem(settings, agreement.began_with, count)
            or pseudonym_problem(view.generations, fingerprint)
        )
        return cluster, agreement

    def _upload(
        self, plan: Plan, control: Control, agreement: Agreement
    ) -> UploadStage:
        warm_rendering()
        percent.warm()
        uploading = agreement.copy()
        return UploadStage(
            self._settings,
            RowRenderer(plan.attributes, uploading.codec),
            self.metrics,
            self.health,
            self._clock,
            renew=partial(_renewed, uploading, control),
            board=self.board,
            control=self._follower,
            connect=partial(
                connect,
                on_statistics=ClientReport(self.metrics, "profiles", "upload"),
            ),
        )

    def _rekey(
        self,
        plan: Plan,
        schemas: Schemas,
        directory: StateDirectory,
        cluster: Cluster,
    ) -> RekeyStage:
        settings, metrics = self._settings, self.metrics
        topics = settings.topics
        metrics.partitions.labels("rekey").set(cluster.partitions[topics.source])
        source = InputConsumer(
            settings, ClientReport(metrics, "source", "rekey"), stage="rekey"
        )
        health = self.health.component("rekey", stalled_after=STALLED_AFTER_SECONDS)
        return RekeyStage(
            settings,
            source,
            SourcePositions(
                settings,
                source,
                Changelog(settings),
                cluster,
                forbidden=self._forbidden,
            ),
            Rekeying(
                plan,
                schemas,
                largest_record=cluster.largest_records[topics.rekeyed],
                grace=self._grace(),
                limits=self._limits(),
            ),
            Producers(
                settings, directory, ClientReport(metrics, "rekeyer"), stage="rekey"
            ),
            cluster=cluster,
            metrics=metrics,
            report=RekeyReport(metrics, self.board, health),
            health=health,
        )

    def _aggregate(  # noqa: PLR0913 - the parts it joins
        self,
        plan: Plan,
        schemas: Schemas,
        codec: ProfileCodec,
        directory: StateDirectory,
        *,
        cluster: Cluster,
        control: Control,
        agreement: Agreement,
    ) -> AggregateStage:
        settings = self._settings
        count = cluster.partitions[settings.topics.purchases]
        self.metrics.partitions.labels("aggregate").set(count)
        source = InputConsumer(
            settings, ClientReport(self.metrics, "purchases", "aggregate")
        )
        decoder = Decoder(schemas, Mapper(plan), self._grace())
        agenda = Agenda(plan, codec, settings.profiles.expire_days)
        partitions = Partitions(
            settings,
            directory,
            source,
            Changelog(settings),
            cluster=cluster,
            metrics=self.metrics,
            board=self.board,
            agreement=agreement,
            rebuilt=Rebuilt(settings, directory, plan, decoder, control.read),
            agenda=agenda,
            forbidden=self._forbidden,
        )
        work = BatchWork(
            plan,
            decoder,
            codec,
            generation=agreement.number,
            largest_record=cluster.largest_records[settings.topics.profiles]
            - RECORD_OVERHEAD,
            limits=self._limits(),
            agenda=agenda,
            max_ahead=settings.purchases.max_ahead,
        )
        daily = None
        if agenda:
            daily = Daily(
                Tick(plan, codec, agenda, generation=agreement.number),
                self._clock,
                zone=plan.zone or "UTC",
                spread=settings.profiles.tick_over,
                begin_anew=partitions.begin_agenda_anew,
            )
        erasure = Erasure(
            codec,
            Fold(plan, agreement.number),
            self._follower,
            self._clock,
            Delivered(settings),
            generation=agreement.number,
            keep=settings.profiles.keep_erased,
            plan=plan,
        )
        health = self.health.component("aggregate", stalled_after=STALLED_AFTER_SECONDS)
        return AggregateStage(
            settings,
            directory,
            source,
            partitions,
            work,
            cluster=cluster,
            metrics=self.metrics,
            board=self.board,
            health=health,
            daily=daily,
            erasure=erasure,
            agreement=agreement,
            view=lambda: self._follower.view,
            progress=RebuildProgress(
                control, lambda: self._follower.view, self._clock.now
            ),
        )

    def _limits(self) -> DeadLetterLimits:
        """Give when dead letters are too many."""
        allowed = self._settings.dead_letters
        return DeadLetterLimits(
            allowed.max_in_a_row, allowed.max_ratio, allowed.ratio_over
        )

    def _grace(self) -> SchemaGrace | None:
        """Let records wait for their schema where it may still be registered."""
        purchases = self._settings.purchases
        if purchases.schema_registry is None or not purchases.schema_grace:
            return None
        return SchemaGrace(purchases.schema_grace, self._clock.now)

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


def _renewed(agreement: Agreement, control: Control) -> bool:
    """Look whether what we met was announced meanwhile, and is ours; blocks."""
    return agreement.renew(control.read())


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
