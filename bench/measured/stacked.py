"""The stage built up step by step: consume, decode, fold, merge, without Kafka's end.

Each measured thing does all that the one before it does and one step more, so that the
difference of two rows is the cost of a step: floor, decode, fold, merge, aggregate.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.job import PARTITIONS, SCHEMA_ID
from bench.meter import Meter
from consumer.errors import SandboxError
from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.frames import Verdicts
from consumer.kafka.input import InputConsumer
from consumer.kafka.topics import MAX_RECORD_BYTES
from consumer.loading import load_plan
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.store import PartitionStore, Position
from consumer.profiles.write_back import WriteBackStore
from consumer.stages.batch import BatchWork, OpenPartition
from consumer.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.job import Run
    from consumer.config import Settings
    from consumer.frames import Records

WAIT_SECONDS: Final = 1.0
EMPTY: Final = Position("bench", 0, 0, 1)


def course(run: Run, work: Callable[[Records], None], meter: Meter) -> None:
    """Consume the topic as the stage does and give each batch to `work`."""
    settings = run.settings()
    source = InputConsumer(settings)
    done = 0
    while done < run.records:
        batch = source.consume(settings.aggregate.max_batch, WAIT_SECONDS)
        if assigned := source.rebalance().assigned:
            source.start(dict.fromkeys(assigned, 0))
            meter.begin()
        if batch.out_of_range:
            raise SandboxError(f"The topic cannot be read: {batch.out_of_range}.")
        if batch.records is not None:
            work(batch.records)
            done += len(batch.records)
            meter.at(done)
    source.close()


def decoder(settings: Settings, *, fast: bool = True) -> Decoder:
    """Make the job's decoder, by the fast codec or by the safe one alone."""
    plan, schemas = load_plan(settings)
    codec = schemas.codec(SCHEMA_ID)
    if codec is None or not codec.fast:
        raise SandboxError("The reference schema is not served by the fast codec.")
    codec.fast = fast
    return Decoder(schemas, Mapper(plan))


def decode(run: Run, *, fast: bool) -> None:
    """Consume and decode."""
    configure_logging(run.settings().log)
    meter, decoding = Meter(), decoder(run.settings(), fast=fast)

    def work(records: Records) -> None:
        decoding.decode(records, Verdicts.of(len(records)))

    course(run, work, meter)
    meter.measured().report()


def worked(settings: Settings) -> BatchWork:
    """Make the job's batch work."""
    plan, schemas = load_plan(settings)
    codec = ProfileCodec(ProfileSchema.of(plan))
    return BatchWork(
        plan,
        Decoder(schemas, Mapper(plan)),
        codec,
        generation=1,
        largest_record=MAX_RECORD_BYTES,
    )


def stores(settings: Settings) -> Iterator[WriteBackStore]:
    """Open a new store for each partition, as the stage does."""
    memory = settings.aggregate.shares.cached // PARTITIONS
    for number in range(PARTITIONS):
        store = PartitionStore(
            Path(settings.aggregate.state_dir) / str(number),
            mapped=settings.aggregate.shares.mapped,
        )
        yield WriteBackStore(store, memory=lambda: memory, now=time.monotonic())


def merge(run: Run, *, remember: bool) -> None:
    """Consume, decode, fold and encode; `remember` in stores, or fold into nothing."""
    settings = run.settings()
    configure_logging(settings.log)
    meter, batches = Meter(), worked(settings)
    partitions = {
        number: OpenPartition(number, store, None, EMPTY)
        for number, store in enumerate(stores(settings))
    }
    spent: dict[str, float] = {}

    def work(records: Records) -> None:
        prepared = batches.prepare(records, partitions)
        for step, seconds in prepared.seconds.items():
            spent[step] = spent.get(step, 0.0) + seconds
        for number, output in prepared.outputs.items():
            if remember:
                store = partitions[number].store
                store.commit(output.changes, time.monotonic())

    course(run, work, meter)
    for one in partitions.values():
        one.store.close(time.monotonic())
    meter.measured(steps=spent).report()
