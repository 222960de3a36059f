"""The controller of a run: one application, its instances, its purchases, its faults.

    configure -> topics -> produce at a rate, with faults -> settle -> drain -> oracle

Every choice is drawn from the run's seed. Moments are not: they come from the machine,
so the same seed gives the same faults in the same order, not the same interleaving.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from signal import SIGTERM
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.config import load_settings
from consumer.errors import BrokerUnreachable
from consumer.kafka.topics import TopicAdmin
from consumer.sandbox.demo.work import configure
from consumer.sandbox.purchases.produce import prepare_topic, produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from tests.faults.broker import SESSION_SECONDS
from tests.faults.instance import Instance
from tests.integration.replicas import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka
    from consumer.sandbox.supervised import SupervisedProcess
    from tests.faults.loop import Loop
    from tests.faults.wire import Wire

LOOK_SECONDS: Final = 0.25
START_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 75.0
DRAIN_SECONDS: Final = 40.0
MOST_MEMORY_KB: Final = 900_000
ASK_SECONDS: Final = 15.0
TICKED_SECONDS: Final = 4.0  # from midnight until all that slid is written
PIECE_SECONDS: Final = 1.0  # purchases come in pieces, each a seed of its own
MOST_PIECES: Final = 1_000
DAY: Final = date(2026, 1, 1)  # of the purchases
SLIDING: Final = """
[profiles]
tick_over = "1s"

[attributes.units_today]
aggregate = "sum"
from = "items"
of = "quantity"
window = "1d"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; the faults are the test's own."""

    partitions: int = 4
    rate: float = 1_500.0
    visitors: int = 1_500
    static: bool = False  # membership by group.instance.id
    protocol: str = "classic"
    strategy: str = ""
    wired: bool = False  # the service speaks to the broker through the wire
    mutant: str = ""
    # The clocks show the day of the purchases, which an attribute counts, until it is
    # over: then all profiles slide.
    slides: bool = False
    # Attributes that a rebuild computes: until it is taken over rows leave them out.
    rebuilt: frozenset[str] = frozenset()


class Failed(AssertionError):  # noqa: N818 - it says what happened
    """A run did not come to its end."""


@dataclass(slots=True)
class World:
    """What runs share."""

    loop: Loop
    kafka: EmbeddedKafka
    wire: Wire

    def heal(self) -> None:
        """Have a broker that runs, behind a wire that works."""
        self.kafka.resume()
        if self.kafka.pid is None:
            self.kafka.restart()
        self.loop.call(self.wire.heal)


@dataclass(slots=True)
class Arena:
    """A context manager that ends every process it started."""

    world: World
    plan: Plan
    name: str
    seed: int
    folder: Path
    stack: ExitStack
    random: random.Random = field(init=False)
    instances: list[Instance] = field(default_factory=list)
    target: TargetSandbox = field(init=False)
    admin: AdminClient = field(init=False)
    _clock_ahead: float = 0.0
    _slid: bool = False
    _producing: threading.Thread | None = None
    _enough: threading.Event = field(default_factory=threading.Event)
    _pieces: int = 0
    _failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Make the topics and the sandbox of Target."""
        self.random = random.Random(f"{self.name} {self.seed}")
        if self.plan.slides:
            self._set_clocks(datetime.combine(DAY, dt.time(20), UTC))
        # Unmetered calls: these runs are about faults, not about waiting.
        options = TargetOptions(calls_per_minute=100_000, processing_time=0.3)
        self.target = self.stack.enter_context(
            self.world.loop.entered(TargetSandbox(options))
        )
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        spec = self._spec(1)
        options_of_client = {"bootstrap.servers": self.bootstrap}
        prepare_topic(
            options_of_client, self.topic, self.plan.partitions, spec.start_ms
        )
        first = self.add()
        admin = TopicAdmin(load_settings(first.work.config))
        admin.create(admin.plan()[0])
        return self

    def __exit__(self, *_: object) -> None:
        """End everything; the commands end with the run's stack."""
        for instance in self.instances:
            instance.close()
        self.world.heal()
        self._enough.set()
        if self._producing is not None:
            self._producing.join()

    @property
    def bootstrap(self) -> str:
        """The broker's address, past the wire."""
        return self.world.kafka.bootstrap

    @property
    def topic(self) -> str:
        """The input."""
        return f"{self.name}-purchases"

    def own(self, topic: str) -> str:
        """Name a topic of the application."""
        return f"{self.name}.{topic}"

    # The instances

    def add(self) -> Instance:
        """Configure one more instance, with a folder of its own; it does not run."""
        number = len(self.instances)
        folder = self.folder / f"instance-{number}"
        folder.mkdir()
        plan = self.plan
        consumer = []
        if plan.protocol == "classic":
            consumer += [
                f'"session.timeout.ms" = {SESSION_SECONDS}000',
                '"heartbeat.interval.ms" = 1000',
            ]
        else:
            consumer.append(f'"group.protocol" = "{plan.protocol}"')
        if plan.strategy:
            consumer.append(f'"partition.assignment.strategy" = "{plan.strategy}"')
        if plan.static:
            consumer.append(f'"group.instance.id" = "instance-{number}"')
        work = configure(
            folder,
            bootstrap=self.world.wire.address if plan.wired else self.bootstrap,
            endpoint=self.target.endpoint,
            application=self.name,
            topic=self.topic,
            more="\n[kafka.consumer]\n"
            + "\n".join(consumer)
            + (SLIDING if plan.slides else "\n"),
        )
        text = work.config.read_text(encoding="utf-8")
        for was, shall in (
            ('state_dir = "state"', 'state_dir = "state"\ncommit_interval = "200ms"'),
            ('max_age = "2s"', 'max_age = "500ms"'),
            ("calls_per_minute = 50", "calls_per_minute = 900"),
            ('first_poll = "1s"', 'first_poll = "300ms"\nconfirm_timeout = "5s"'),
        ):
            assert was in text
            text = text.replace(was, shall)
        work.config.write_text(text, encoding="utf-8")
        instance = Instance(
            number, work, mutant=plan.mutant, clock_ahead=self._clock_ahead
        )
        self.instances.append(instance)
        return instance

    def start(
        self,
        number: int = 0,
        *,
        failpoint: str = "",
        clock_ahead: float | None = None,
    ) -> Instance:
        """Start an instance, adding it and those before it if there are fewer."""
        while len(self.instances) <= number:
            self.add()
        one = self.instances[number]
        if clock_ahead is not None:
            one.set_clock(clock_ahead)
        one.start(failpoint=failpoint)
        return one

    def command(self, *arguments: str, failpoint: str = "") -> SupervisedProcess:
        """Start a command of the service, with its configuration and its own log."""
        log = self.folder / f"{arguments[0]}.log"
        process = self.stack.enter_context(
            command(self.instances[0].work, *arguments, failpoint=failpoint, log=log)
        )
        process.start()
        return process

    def wait_ready(self, *numbers: int) -> None:
        """Wait until instances have restored what they were assigned."""
        for number in numbers or (0,):
            one = self.instances[number]
            self.wait_for(
                partial(_is_ready, one), f"instance {number} is not ready", one
            )

    def wait_committing(self, number: int = 0, transactions: int = 2) -> None:
        """Wait until an instance has committed some transactions."""
        one = self.instances[number]

        def committed() -> float:
            return one.metrics().total(
                "pos_consumer_transactions_total", result="committed"
            )

        self.wait_for(
            lambda: committed() >= transactions,
            f"instance {number} commits nothing",
            one,
        )

    def wait_for(
        self,
        reached: Callable[[], bool],
        otherwise: str,
        one: Instance | None = None,
        seconds: float = START_SECONDS,
    ) -> None:
        """Wait for a condition; `Failed` where it does not come in time."""
        deadline = time.monotonic() + seconds
        while not reached():
            if one is not None and not one.running:
                raise Failed(f"Instance {one.number} has ended:\n{one.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"After {seconds:g} s: {otherwise}.\n{self.last_words()}")
            self.sleep(LOOK_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Let the run go on for a while, with an eye on memory."""
        deadline = time.monotonic() + seconds
        while True:
            for instance in self.instances:
                instance.look()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, LOOK_SECONDS))

    def sleep_between(self, least: float, most: float) -> None:
        """Wait for a time drawn from the seed."""
        self.sleep(self.random.uniform(least, most))

    # The purchases

    def produce(self) -> None:
        """Begin to produce at the plan's rate, beside everything else, until told."""
        self._enough.clear()
        self._producing = threading.Thread(target=self._produce, daemon=True)
        self._producing.start()

    def _produce(self) -> None:
        try:
            while not self._enough.is_set():
                self._pieces += 1
                # Before a record is sent it asks about the topic, of a broker that
                # may be away.
                with suppress(BrokerUnreachable, KafkaException, TimeoutError):
                    produce(
                        self._spec(int(self.plan.rate * PIECE_SECONDS)),
                        bootstrap_servers=self.bootstrap,
                        topic=self.topic,
                        partitions=self.plan.partitions,
                        rate=self.plan.rate,
                        kafka={"log_level": 0},
                    )
        except BaseException as error:  # noqa: BLE001 - raised by `produced`
            self._failure = error

    def produced(self) -> None:
        """End the production; returns when the broker has everything."""
        self._enough.set()
        while self._producing is not None and self._producing.is_alive():
            self.sleep(LOOK_SECONDS)
        self._producing = None
        if self._failure is not None:
            raise self._failure

    def _spec(self, events: int) -> Spec:
        return Spec(
            events=events,
            visitors=self.plan.visitors,
            seed=self.seed * MOST_PIECES + self._pieces,
            duplicates=0.03,
            poison=0.01,
            batch=5_000,
        )

    # The end

    def finish(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until everything produced has arrived at Target, and end in order."""
        self.produced()
        running = [one for one in self.instances if one.running]
        if not running:
            raise Failed(f"No instance runs.\n{self.last_words()}")
        self._wait_arrived(running, seconds)
        if self.plan.slides:
            if not self._slid:
                self.pass_midnight()
            self.sleep(TICKED_SECONDS)
            self._wait_arrived(running, seconds)
        self.drain(*[one.number for one in running])

    def pass_midnight(self) -> None:
        """Let the day of the purchases be over, by all clocks."""
        self._slid = True
        self._set_clocks(datetime.combine(DAY + timedelta(days=1), dt.time(4), UTC))

    def _set_clocks(self, now: datetime) -> None:
        self._clock_ahead = now.timestamp() - time.time()
        for one in self.instances:
            one.set_clock(self._clock_ahead)

    def _wait_arrived(self, running: list[Instance], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (missing := self._missing(running)) is not None:
            for one in running:
                if not one.running:
                    raise Failed(
                        f"Instance {one.number} has ended:\n{one.last_words()}"
                    )
            if time.monotonic() > deadline:
                raise Failed(f"After {seconds:g} s: {missing}.\n{self.last_words()}")
            self.sleep(LOOK_SECONDS)

    def drain(self, *numbers: int) -> None:
        """End instances in order; `Failed` where one does not end well."""
        for number in numbers:
            one = self.instances[number]
            # Until Python has got as far as to say what a signal means, it just ends.
            allowed = {0} if _is_ready(one) else {0, -SIGTERM}
            code = one.drain(DRAIN_SECONDS)
            if code not in allowed:
                raise Failed(
                    f"Instance {number} ended with {code}:\n{one.last_words()}"
                )

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Give a group's committed offsets, -1001 where it has none."""
        reader = self.bystander(group)
        try:
            places = [
                TopicPartition(topic, number) for number in range(self.plan.partitions)
            ]
            found = reader.committed(places, timeout=ASK_SECONDS)
            return {one.partition: one.offset for one in found}
        finally:
            reader.close()

    def ends(self, topic: str) -> dict[int, int]:
        """Give the ends of a topic's partitions, open transactions included."""
        reader = self.bystander("harness", isolation="read_uncommitted")
        try:
            return {
                number: reader.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=ASK_SECONDS
                )[1]
                for number in range(self.plan.partitions)
            }
        finally:
            reader.close()

    def bystander(self, group: str, isolation: str = "read_committed") -> Consumer:
        """Make a consumer that joins nothing."""
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "log_level": 2,
            }
        )

    def last_words(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"Instance {one.number}:\n{one.last_words()}" for one in self.instances
        )

    def _missing(self, running: list[Instance]) -> str | None:
        """Say what has not arrived yet."""
        try:
            if self.plan.mutant:  # it may commit anything
                lag = sum(one.lag() for one in running)
                if lag:
                    return f"{lag:g} purchases are not folded"
            else:
                committed = self.committed(f"{self.name}-aggregate", self.topic)
                if committed != (ends := self.ends(self.topic)):
                    return f"purchases are folded up to {committed} of {ends}"
            ends = self.ends(self.own("profiles"))
            committed = self.committed(f"{self.name}-upload", self.own("profiles"))
        except KafkaException as error:
            return f"the broker does not answer: {error}"
        # The end of a partition lies one behind its last record: a marker.
        if any(end - max(0, committed[number]) > 1 for number, end in ends.items()):
            return f"profiles are uploaded up to {committed} of {ends}"
        under_way = sum(
            one.metrics().total("pos_consumer_in_flight_batches") for one in running
        )
        return f"{under_way:g} batches are under way" if under_way else None


def _is_ready(one: Instance) -> bool:
    return one.metrics().total("pos_consumer_ready") == 1
