"""Which parts a stage is made of: the one place that joins them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from consumer.events.dead_letter_limits import DeadLetterLimits
from consumer.events.decode import Decoder
from consumer.events.grace import SchemaGrace
from consumer.events.mapping import Mapper
from consumer.kafka.changelog import Changelog
from consumer.kafka.delivered import Delivered
from consumer.kafka.input import InputConsumer
from consumer.kafka.topics import RECORD_OVERHEAD
from consumer.profiles.agenda import Agenda
from consumer.profiles.fold import Fold
from consumer.profiles.rows import RowRenderer
from consumer.profiles.warm import warm_rendering
from consumer.stages.aggregate import AggregateStage
from consumer.stages.batch import BatchWork
from consumer.stages.client_report import ClientReport
from consumer.stages.daily import Daily
from consumer.stages.erasure import Erasure
from consumer.stages.lifecycle import Partitions
from consumer.stages.producers import Producers
from consumer.stages.rebuild_progress import RebuildProgress
from consumer.stages.rebuilt import Rebuilt
from consumer.stages.rekey import RekeyStage
from consumer.stages.rekey_positions import SourcePositions
from consumer.stages.rekey_report import RekeyReport
from consumer.stages.rekeying import Rekeying
from consumer.stages.tick import Tick
from consumer.stages.upload import UploadStage
from consumer.stages.upload_connections import connect
from consumer.target import percent

if TYPE_CHECKING:
    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.errors import PartitionHalt
    from consumer.events.decode import Schemas
    from consumer.kafka.control import Control
    from consumer.kafka.control_follower import ControlFollower
    from consumer.kafka.topics import Cluster
    from consumer.plan.compile import Plan
    from consumer.profiles.directory import StateDirectory
    from consumer.stages.generations import Agreement
    from consumer.telemetry.health import Health
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard


JOINING: Final = (
    "joining the group; what a killed process had comes when its session ends"
)

STALLED_AFTER_SECONDS: Final = 120.0
"""Longer than the longest single call that a loop makes to a broker."""


@dataclass(frozen=True, slots=True)
class Composition:
    """What the stages of one process share, and how each is made of it.

    `forbidden` is a problem of the topics that lets no partition run.
    """

    settings: Settings
    clock: Clock
    plan: Plan
    schemas: Schemas
    cluster: Cluster
    control: Control
    follower: ControlFollower
    agreement: Agreement
    forbidden: PartitionHalt | None
    metrics: Metrics
    board: StatusBoard
    health: Health

    def rekey(self, directory: StateDirectory) -> RekeyStage:
        """Join the stage that writes purchases by visitor."""
        settings, metrics, cluster = self.settings, self.metrics, self.cluster
        topics = settings.topics
        metrics.partitions.labels("rekey").set(cluster.partitions[topics.source])
        source = InputConsumer(
            settings, ClientReport(metrics, "source", "rekey"), stage="rekey"
        )
        health = self.health.component("rekey", stalled_after=STALLED_AFTER_SECONDS)
        health.wait(JOINING)
        return RekeyStage(
            settings,
            source,
            SourcePositions(
                settings,
                source,
                Changelog(settings),
                cluster,
                ends=self.agreement.ends,
                forbidden=self.forbidden,
            ),
            Rekeying(
                self.plan,
                self.schemas,
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

    def aggregate(self, directory: StateDirectory) -> AggregateStage:
        """Join the stage that folds purchases into profiles."""
        settings, plan, cluster = self.settings, self.plan, self.cluster
        agreement, codec = self.agreement, self.agreement.codec
        count = cluster.partitions[settings.topics.purchases]
        self.metrics.partitions.labels("aggregate").set(count)
        source = InputConsumer(
            settings, ClientReport(self.metrics, "purchases", "aggregate")
        )
        decoder = Decoder(self.schemas, Mapper(plan), self._grace())
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
            rebuilt=Rebuilt(settings, directory, plan, decoder, self.control.read),
            agenda=agenda,
            forbidden=self.forbidden,
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
                self.clock,
                zone=plan.zone or "UTC",
                spread=settings.profiles.tick_over,
                begin_anew=partitions.begin_agenda_anew,
            )
        erasure = Erasure(
            codec,
            Fold(plan, agreement.number),
            self.follower,
            self.clock,
            Delivered(settings),
            generation=agreement.number,
            keep=settings.profiles.keep_erased,
            plan=plan,
        )
        health = self.health.component("aggregate", stalled_after=STALLED_AFTER_SECONDS)
        health.wait(JOINING)
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
            view=lambda: self.follower.view,
            progress=RebuildProgress(
                self.control, lambda: self.follower.view, self.clock.now
            ),
        )

    def upload(self) -> UploadStage:
        """Join the stage that sends profiles to Target."""
        warm_rendering()
        percent.warm()
        uploading = self.agreement.copy()
        return UploadStage(
            self.settings,
            RowRenderer(self.plan.attributes, uploading.codec),
            self.metrics,
            self.health,
            self.clock,
            renew=partial(_renewed, uploading, self.control),
            board=self.board,
            control=self.follower,
            connect=partial(
                connect,
                on_statistics=ClientReport(self.metrics, "profiles", "upload"),
            ),
        )

    def _limits(self) -> DeadLetterLimits:
        """Give when dead letters are too many."""
        allowed = self.settings.dead_letters
        return DeadLetterLimits(
            allowed.max_in_a_row, allowed.max_ratio, allowed.ratio_over
        )

    def _grace(self) -> SchemaGrace | None:
        """Let records wait for their schema where it may still be registered."""
        purchases = self.settings.purchases
        if purchases.schema_registry is None or not purchases.schema_grace:
            return None
        return SchemaGrace(purchases.schema_grace, self.clock.now)


def _renewed(agreement: Agreement, control: Control) -> bool:
    """Look whether what we met was announced meanwhile, and is ours; blocks."""
    return agreement.renew(control.read())
