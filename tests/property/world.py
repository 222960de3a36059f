"""Everything between Kafka's records and the store's bytes, without Kafka.

A `World` has real plans, codecs, batch work and ids seen; after each batch it does
what the aggregate stage does after its transaction's commit.
"""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import fastavro
import numpy as np
import pyarrow as pa

from consumer.config import Settings
from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.events.schemas import SchemaFolder
from consumer.frames import Records
from consumer.plan.compile import compile_plan
from consumer.profiles.agenda import Agenda
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.profiles.seen import SeenIds, bucket_width
from consumer.profiles.store import Position, Tails
from consumer.profiles.write_back import WriteBackStore
from consumer.stages.batch import BatchWork, OpenPartition, Prepared
from tests.property.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.events.dead_letter_limits import DeadLetterLimits
    from consumer.events.grace import SchemaGrace
    from consumer.profiles.store import PartitionStore
    from consumer.stages.copies import Copies

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record; its offset is its place in its partition, if none is given."""

    key: bytes | None
    value: bytes | None
    partition: int = 0
    timestamp: int = 1_000
    offset: int | None = None


class World:
    """One service's aggregation: feed it batches, look at its profiles."""

    def __init__(  # noqa: PLR0913 - what a configuration says
        self,
        attributes: Mapping[str, Mapping[str, Any]],
        schemas: Mapping[int, dict[str, Any]],
        *,
        fields: Mapping[str, str] | None = None,
        key_expression: str | None = None,
        deduplicate: float = DAY,
        largest_record: int = 1_000_000,
        memory: int = 10_000,
        limits: DeadLetterLimits | None = None,
        grace: SchemaGrace | None = None,
        copies: Copies | None = None,
        expire_days: int | None = None,
        max_ahead: float | None = None,
    ) -> None:
        settings = Settings.model_validate(
            {
                "purchases": {
                    "topic": "purchases",
                    "fields": dict(fields or {}),
                    "key_expression": key_expression,
                },
                "target": {"client": "acme"},
                "attributes": {k: dict(v) for k, v in attributes.items()},
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            for schema_id, schema in schemas.items():
                text = json.dumps(schema)
                Path(folder, f"{schema_id}.avsc").write_text(text, encoding="utf-8")
            source = SchemaFolder(Path(folder))
            for schema_id in source.ids():
                source.codec(schema_id)
            self.events_codec = source.newest()[1]
        self.schemas = source
        self.plan = compile_plan(settings, self.events_codec.sample_frame())
        self.codec = ProfileCodec(ProfileSchema.of(self.plan))
        self.agenda = Agenda(self.plan, self.codec, expire_days)
        self.renderer = RowRenderer(self.plan.attributes, self.codec)
        self.decoder = Decoder(source, Mapper(self.plan), grace)
        self.work = BatchWork(
            self.plan,
            self.decoder,
            self.codec,
            generation=0,
            largest_record=largest_record,
            limits=limits,
            copies=copies,
            agenda=self.agenda,
            max_ahead=max_ahead,
        )
        self.deduplicate = deduplicate
        self.memory = memory
        self._parsed = {k: fastavro.parse_schema(v) for k, v in schemas.items()}
        self.forget()

    def forget(self) -> Self:
        """Begin anew on day 0, with no partitions; what was compiled stays."""
        self.today = 0
        self.partitions: dict[int, OpenPartition] = {}
        self.stores: dict[int, PartitionStore | MemoryStore] = {}
        self._next: dict[int, int] = {}
        return self

    def encode(self, event: Mapping[str, Any], schema_id: int = 1) -> bytes:
        """Write an event as a producer would."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._parsed[schema_id], dict(event))
        return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()

    def record(
        self, event: Mapping[str, Any], *, partition: int = 0, timestamp: int = 1_000
    ) -> Record:
        """Make the record of an event, keyed by its visitor."""
        visitor = event["visitor_id"]
        key = None if visitor is None else visitor.encode()
        return Record(key, self.encode(event), partition, timestamp)

    def open(self, number: int, store: PartitionStore | MemoryStore) -> None:
        """Take a partition with its store, as after a restore."""
        self.stores[number] = store
        cached = WriteBackStore(
            cast("PartitionStore", store), memory=lambda: self.memory, now=0.0
        )
        seen = None
        position = cached.position or Position("topic", 0, 0, 0)
        if self.deduplicate:
            seen = SeenIds(bucket_width(self.deduplicate), cached.runs_of)
            for bucket in cached.buckets():
                for run in cached.runs_of(bucket):
                    seen.remember({bucket: run})
        self.partitions[number] = OpenPartition(
            number,
            cached,
            seen,
            position,
            day=self.today,
            suppressed=store.suppressed(),
        )
        self._next[number] = position.next_offset

    def prepare(self, batch: Sequence[Record]) -> Prepared:
        """Work a batch; nothing is committed."""
        offsets = []
        for one in batch:
            if one.partition not in self.partitions:
                self.open(one.partition, MemoryStore())
            next_offset = self._next[one.partition]
            offset = next_offset if one.offset is None else one.offset
            offsets.append(offset)
            self._next[one.partition] = offset + 1
        records = Records(
            np.array([one.partition for one in batch], np.int32),
            np.array(offsets, np.int64),
            np.array([one.timestamp for one in batch], np.int64),
            [one.key for one in batch],
            [one.value for one in batch],
        )
        return self.work.prepare(records, self.partitions)

    def feed(self, batch: Sequence[Record]) -> Prepared:
        """Work a batch and commit it, as the aggregate stage does."""
        prepared = self.prepare(batch)
        for number, output in prepared.outputs.items():
            partition, changes = self.partitions[number], output.changes
            if changes.position is None:
                continue
            partition.commit(replace(changes, tails=Tails(1, 1)), now=0.0)
        return prepared

    def values(self) -> list[bytes]:
        """Give every stored profile, by partition and key."""
        for one in self.partitions.values():
            one.store.flush(now=0.0)
        return [
            value
            for _, store in sorted(self.stores.items())
            for _, value in store.items()
        ]

    def profiles(self) -> dict[str, dict[str, Any]]:
        """Give every stored profile, decoded, by visitor."""
        decoded: list[dict[str, Any]] = self.codec.decode(self.values()).to_pylist()
        return {one["visitor"]: one for one in decoded}

    def rows(self) -> dict[str, dict[str, str | None]]:
        """Give what Target gets, by visitor."""
        rendered = self.renderer.rows(self.values()).to_pylist()
        return {
            one["visitor"]: {name: one[name] for name in self.renderer.attributes}
            for one in rendered
        }

    def content(self) -> list[bytes]:
        """Give every profile's bytes without what a replay order may change."""
        batch = self.codec.decode(self.values())
        for name in ("version", "source_offset"):
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, name, pa.array([0] * len(batch), "int64"))
        return sorted(self.codec.encode(batch))
