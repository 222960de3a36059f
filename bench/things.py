"""What can be measured, by name: which topic it takes, how it runs, how it is checked.

A thing is called once a round with the open bench; it gives what was measured, and
raises `SandboxError` where the result is not the recount's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bench.check import latest, profiles, require_recount, require_stored
from bench.job import Run
from bench.meter import MILLION
from bench.peers.kafka_streams import (
    built,
    kafka_streams_profiles,
    measure_kafka_streams,
)
from bench.peers.quix import environment, measure_quix, quix_profiles
from bench.processes import measure
from bench.reference import Reference, Topic, working_folder
from bench.target import receiver, require_delivered, target_sandbox
from consumer.errors import SandboxError

SAFE_EVENTS: Final = 50_000
SWITCHED_EVENTS: Final = 1_000_000
MOST_TOLD: Final = 0.01
"""The share of its CPU seconds that the stage may spend on telling of itself."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from bench.meter import Measured


@dataclass(slots=True)
class Bench:
    """One run of the bench: the broker, how many events, and what is loaded."""

    reference: Reference
    events: int
    say: Callable[[str], None]
    stack: ExitStack
    topics: dict[str, Topic] = field(default_factory=dict)
    finished: dict[str, Run] = field(default_factory=dict)

    def topic(self, variant: str) -> Topic:
        """Give a reference topic, loaded at its first use."""
        if variant not in self.topics:
            self.topics[variant] = self.reference.topic(variant, self.events, self.say)
        return self.topics[variant]

    def run(self, folder: object, variant: str, **differs: Any) -> Run:  # noqa: ANN401 - fields of `Run`
        """Make a run of the job on a variant's topic, under a new application."""
        topic = self.topic(variant)
        return Run(
            folder=str(folder),
            bootstrap=self.reference.bootstrap,
            topic=topic.name,
            application=self.reference.application(),
            records=topic.records,
            **differs,
        )

    def finished_run(self, variant: str) -> Run:
        """Give a run of the stage on a variant that has ended, checked.

        It is made once; its topics stay until the bench ends.
        """
        if variant not in self.finished:
            folder = self.stack.enter_context(working_folder())
            run = self.run(folder, variant)
            measure("aggregate", run)
            expected = self.topic(variant).expected()
            require_recount(profiles(run), expected, f"aggregate-{variant}")
            self.finished[variant] = run
        return self.finished[variant]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to measure, with a sentence for `--help`."""

    name: str
    about: str
    measure: Callable[[Bench], Measured]
    variants: tuple[str, ...] = ("uniform",)
    checked: bool = True


def bare(name: str, most: int | None = None) -> Callable[[Bench], Measured]:
    """Measure what leaves nothing behind, on at most so many events."""

    def do(bench: Bench) -> Measured:
        with working_folder() as folder:
            run = bench.run(folder, "uniform")
            records = min(run.records, most or run.records)
            return measure(name, replace(run, records=records))

    return do


def restore(bench: Bench) -> Measured:
    """Measure a restore of a profile an event, and a bare consumer of what it reads."""
    done = bench.finished_run("once")
    with working_folder() as folder:
        alone = measure("bare", replace(done, folder=str(folder)))
    with working_folder() as folder:
        run = replace(done, folder=str(folder))
        found = measure("restore", run)
        topic = run.settings().topics.profiles
        require_stored(run, latest(run.bootstrap, topic))
    detail = {
        "records_per_s": found.events_per_s,
        "bare_consumer_records_per_s": alone.events_per_s,
        "bare_consumer_cpu_s_per_million": alone.cpu_s_per_million,
    }
    return replace(found, detail=found.detail | detail)


def upload_render(bench: Bench) -> Measured:
    """Measure rendering and encoding of a finished run's profiles."""
    done = bench.finished_run("uniform")
    with working_folder() as folder:
        return measure("upload_render", replace(done, folder=str(folder)))


def aggregate(
    variant: str, deduplicate: str = "0s", measured: str = "aggregate"
) -> Callable[[Bench], Measured]:
    """Measure the aggregate stage and compare every profile."""

    def do(bench: Bench) -> Measured:
        with working_folder() as folder:
            run = bench.run(folder, variant, deduplicate=deduplicate)
            found = measure(measured, run)
            expected = bench.topic(variant).expected()
            require_recount(profiles(run), expected, f"aggregate-{variant}")
            bench.reference.forget(run.application)
            return found

    return do


def told(bench: Bench) -> Measured:
    """Measure the stage with what it spends on telling; too large a share fails."""
    found = aggregate("uniform", measured="metrics")(bench)
    spent = found.cpu_s_per_million * bench.events / MILLION
    share = found.detail["telling_cpu_s"] / spent
    found.detail["telling_share"] = share
    bench.say(f"telling of itself took {share:.2%} of its CPU seconds")
    if share > MOST_TOLD:
        raise SandboxError(
            f"Telling of itself took {share:.2%} of the stage's CPU seconds, more than "
            f"{MOST_TOLD:.0%}."
        )
    return found


def switched(bench: Bench) -> Measured:
    """Measure the stage with its telling now on, now off, and say the difference."""
    with working_folder() as folder:
        run = bench.run(folder, "uniform")
        run = replace(run, records=min(run.records, SWITCHED_EVENTS))
        found = measure("switched", run)
        bench.reference.forget(run.application)
    us = {name: f"{value:,.0f}" for name, value in found.detail.items()}
    bench.say(
        f"of {us['batch_us']} CPU us a batch, telling took {us['difference_us']} us "
        f"({us['difference_least_us']} - {us['difference_most_us']}) by the medians of "
        f"{us['pairs']} pairs; timed were {us['timed_us']} us"
    )
    return found


def post(bench: Bench) -> Measured:
    """Measure sending files to a receiver that is another process."""
    with working_folder() as folder, receiver(folder) as endpoint:
        return measure("post", bench.run(folder, "uniform", endpoint=endpoint))


def service(bench: Bench) -> Measured:
    """Measure the service; compare the profiles in the topic and those at Target."""
    with working_folder() as folder, target_sandbox(folder) as endpoint:
        run = bench.run(folder, "uniform", endpoint=endpoint)
        found = measure("service", run)
        expected = bench.topic("uniform").expected()
        require_recount(profiles(run), expected, "service")
        require_delivered(endpoint, expected)
        bench.reference.forget(run.application)
        return found


def latency(commit_interval: str) -> Callable[[Bench], Measured]:
    """Measure how long an event takes, a thousand a second, on a topic of its own."""

    def do(bench: Bench) -> Measured:
        with working_folder() as folder, target_sandbox(folder) as endpoint:
            application = bench.reference.application()
            run = Run(
                folder=str(folder),
                bootstrap=bench.reference.bootstrap,
                topic=f"{application}.purchases",
                application=application,
                commit_interval=commit_interval,
                max_age="1s",
                endpoint=endpoint,
            )
            bench.reference.create(run.topic)
            found = measure("latency", run)
            bench.reference.forget(run.application)
            figures = ", ".join(f"{k} {v:.0f}" for k, v in found.detail.items())
            bench.say(f"commit interval {commit_interval}: {figures}")
            return found

    return do


def quix(bench: Bench) -> Measured:
    """Measure Quix Streams and compare its profiles."""
    environment()
    with working_folder() as folder:
        run = bench.run(folder, "uniform")
        found = measure_quix(run)
        require_recount(quix_profiles(run), bench.topic("uniform").expected(), "quix")
        bench.reference.forget(run.application)
        return found


def kafka_streams(bench: Bench) -> Measured:
    """Measure Kafka Streams and compare its profiles."""
    built()
    with working_folder() as folder:
        run = bench.run(folder, "uniform")
        bench.reference.create(f"{run.application}.profiles")
        found = measure_kafka_streams(run)
        expected = bench.topic("uniform").expected()
        require_recount(kafka_streams_profiles(run), expected, "kafka-streams")
        bench.reference.forget(run.application)
        return found


THINGS: Final = (
    Thing(
        "floor",
        "consume only: what any consumer pays with these librdkafka settings",
        bare("floor"),
        checked=False,
    ),
    Thing(
        "decode",
        "the floor, and decoding by the fast codec into mapped columns",
        bare("decode"),
        checked=False,
    ),
    Thing(
        "decode-safe",
        f"the same by the safe codec, on {SAFE_EVENTS:,} events",
        bare("decode_safe", SAFE_EVENTS),
        checked=False,
    ),
    Thing(
        "fold",
        "decode, and folding each batch into new profiles, encoded",
        bare("fold"),
        checked=False,
    ),
    Thing(
        "merge",
        "fold, and merging with the stored profiles on disk: all but Kafka's end",
        bare("merge"),
        checked=False,
    ),
    Thing(
        "aggregate-uniform",
        "the whole aggregate stage, exactly-once, on uniform visitors",
        aggregate("uniform"),
    ),
    Thing(
        "aggregate-zipf",
        "the same where few visitors buy most (zipf 1.2)",
        aggregate("zipf"),
        ("zipf",),
    ),
    Thing(
        "aggregate-poison",
        "the same with 5 % broken records",
        aggregate("poison"),
        ("poison",),
    ),
    Thing(
        "aggregate-deduplicated",
        "the same on uniform visitors with event ids remembered for 24 h",
        aggregate("uniform", "24h"),
    ),
    Thing(
        "aggregate-metrics",
        "the same without, scraped: fails where telling of itself takes over 1 %",
        told,
    ),
    Thing(
        "aggregate-switched",
        "small batches with telling now on, now off, in one process",
        switched,
        checked=False,
    ),
    Thing(
        "restore",
        "as many profiles as events from the topics into new stores, in records",
        restore,
        ("once",),
    ),
    Thing(
        "upload-render",
        "profile records to the encoded rows of a batch file, in rows",
        upload_render,
        checked=False,
    ),
    Thing(
        "post",
        "batch files of nearly 50 MB sent to a local receiver, in rows",
        post,
        checked=False,
    ),
    Thing(
        "service",
        "the service end to end, until Target's sandbox has confirmed every profile",
        service,
    ),
    Thing(
        "latency-1s",
        "1,000 events a second: to `profiles` and to Target, committing every second",
        latency("1s"),
        checked=False,
    ),
    Thing(
        "latency-100ms",
        "the same, committing every 100 ms",
        latency("100ms"),
        checked=False,
    ),
    Thing(
        "quix",
        "Quix Streams, exactly-once, RocksDB, in an environment of its own",
        quix,
    ),
    Thing(
        "kafka-streams",
        "Kafka Streams, EOS v2, 2 threads, RocksDB: its second half, when it is warm",
        kafka_streams,
    ),
)
