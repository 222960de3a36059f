"""The profile record: its Avro schema, and columns to bytes and back.

A record is Avro with Confluent framing: a zero byte, a schema id of four bytes, the
fields. The same bytes go to the `profiles` topic and into the local store. Where no
registry has given the schema an id, the id is made from the schema's fingerprint and
is negative, so that it never meets a registry's.

The framing is read and written as two more fields in front of the record (a boolean
and a float have just these sizes), so that nothing is sliced or copied. The codec is
pyruhvro; profile schemas use only the types it is sound for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import fastavro.schema
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from consumer.errors import PartitionHalt
from consumer.profiles.algebra.catalogue import aggregate_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from consumer.plan.compile import Plan

FORMAT = 1
FRAME = 5
HEADER = (
    ("visitor", "string"),
    ("version", "long"),
    ("generation", "int"),
    ("source_partition", "int"),
    ("source_offset", "long"),
    ("as_of_day", "int"),
    ("active_day", "int"),
    ("erased_at", "long"),
)
DOCS = {
    "visitor": "The visitor id that Target knows.",
    "version": "Rises by one with each change of this profile.",
    "generation": "The generation of the configuration that wrote this.",
    "source_partition": "The partition that the visitor's events come from.",
    "source_offset": "The offset of the last event folded.",
    "as_of_day": "The day, since the epoch, that windows end with; 0: no windows.",
    "active_day": "The day, since the epoch, on which an event was last folded; UTC.",
    "erased_at": "When the visitor was erased, in milliseconds; 0: was not.",
}

_NO_MARKS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProfileSchema:
    """One version of the record's schema and the id in its framing."""

    text: str
    schema_id: int

    @classmethod
    def of(cls, plan: Plan, marks: Mapping[str, str] = _NO_MARKS) -> ProfileSchema:
        """Derive the schema from the configured attributes, in a stable order.

        `marks` are words to add to the docs of attributes; the id is the same without.
        """
        fields: list[dict[str, Any]] = [
            {"name": name, "type": kind, "doc": DOCS[name]} for name, kind in HEADER
        ]
        fields += [
            {
                "name": a.name,
                "type": aggregate_for(a).field,
                "doc": "; ".join([a.summary, *filter(None, [marks.get(a.name)])]),
            }
            for a in sorted(plan.attributes, key=lambda one: one.name)
        ]
        schema = {
            "type": "record",
            "name": "Profile",
            "namespace": "pos_consumer",
            "doc": f"A visitor's profile, format {FORMAT}.",
            "fields": fields,
        }
        text = json.dumps(schema)
        return cls(text, fingerprint_id(text))

    @property
    def names(self) -> tuple[str, ...]:
        """The record's fields in order."""
        return tuple(field["name"] for field in json.loads(self.text)["fields"])

    @property
    def framed(self) -> str:
        """The schema with the framing bytes as fields in front."""
        schema = json.loads(self.text)
        schema["fields"] = [
            {"name": "_magic", "type": "boolean"},
            {"name": "_schema_id", "type": "float"},
            *schema["fields"],
        ]
        return json.dumps(schema)


def fingerprint_id(schema: str) -> int:
    """Make a negative schema id from a schema's CRC-64-AVRO fingerprint."""
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(schema))
    digest = fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    return -1 - (int(digest[:8], 16) & 0x7FFF_FFFF)


class ProfileCodec:
    """Encodes profiles by one schema and decodes them by every schema known."""

    def __init__(self, current: ProfileSchema) -> None:
        """Write by `current`; read that, and whatever `learn` adds."""
        self.current = current
        self._readers = {current.schema_id: current.framed}
        self._writer = current.framed
        self._target: pa.Schema = pyruhvro.avro_to_arrow_schema(current.text)
        self.generation = 0
        self._since: Mapping[str, int] = {}

    def take_after(self, other: ProfileCodec) -> None:
        """Know what another one knows now; later they differ."""
        self._readers = dict(other._readers)
        self.generation = other.generation
        self._since = other._since

    def begin(self, generation: int, since: Mapping[str, int]) -> None:
        """Take part in a generation of the configuration.

        `since` names the generation that each attribute began with: what a profile of
        an older one holds under its name is of something else, and read as null.
        """
        self.generation = generation
        self._since = {n: began for n, began in since.items() if began > 1}

    @property
    def newest_beginning(self) -> int:
        """The newest generation that an attribute began with; 0 if all always were."""
        return max(self._since.values(), default=0)

    def foreign(self, name: str, generations: pa.Array) -> NDArray[np.bool_]:
        """Flag the profiles that were written before an attribute began."""
        before: NDArray[np.bool_] = generations.to_numpy() < self._since.get(name, 0)
        return before

    def learn(self, schemas: Mapping[int, str]) -> None:
        """Read records of older schemas too: text by schema id."""
        for schema_id, text in schemas.items():
            self._readers[schema_id] = ProfileSchema(text, schema_id).framed

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of decoded profiles."""
        return self._target

    def encode(self, profiles: pa.RecordBatch) -> list[bytes]:
        """Encode columns (as in `schema`) into framed records."""
        encoded: list[bytes] = self.encode_column(profiles).to_pylist()
        return encoded

    def encode_column(self, profiles: pa.RecordBatch) -> pa.BinaryArray:
        """Encode columns into a column of framed records."""
        count = profiles.num_rows
        framing = np.full(count, self.current.schema_id, ">i4").view("<f4")
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(np.zeros(count, bool)),
                pa.array(framing),
                *(profiles.column(name) for name in self.schema.names),
            ],
            names=["_magic", "_schema_id", *self.schema.names],
        )
        encoded: list[pa.BinaryArray] = pyruhvro.serialize_record_batch(
            batch, self._writer, 1
        )
        return encoded[0] if len(encoded) == 1 else pa.concat_arrays(encoded)

    def decode(self, records: Sequence[bytes]) -> pa.RecordBatch:
        """Decode framed records into columns of `schema`, in order.

        Attributes that a record's schema lacks, or that began after its generation, are
        null. Raises `PartitionHalt` when a record was written by a schema that is not
        known.
        """
        return self._own(self._decode_all(records))

    def _decode_all(self, records: Sequence[bytes]) -> pa.RecordBatch:
        ids = schema_ids(records)
        known = np.unique(ids).tolist()
        if len(known) == 1:
            return self._decode(known[0], records)
        parts, places = [], []
        for schema_id in known:
            rows = np.flatnonzero(ids == schema_id)
            places.append(rows)
            mine = [records[row] for row in rows.tolist()]
            parts.append(self._decode(schema_id, mine))
        back = np.argsort(np.concatenate(places)) if places else np.zeros(0, int)
        if not parts:
            return _empty(self.schema)
        table = pa.Table.from_batches(parts).take(pa.array(back))
        return table.combine_chunks().to_batches()[0]

    def _decode(self, schema_id: int, records: Sequence[bytes]) -> pa.RecordBatch:
        reader = self._readers.get(schema_id)
        if reader is None:
            raise PartitionHalt(
                "unknown_profile_schema",
                "Restart this replica with the configuration that the others have.",
                what=f"A profile was written by schema {schema_id}, which this process "
                "does not know: a newer configuration is in use.",
            )
        batch: pa.RecordBatch = pyruhvro.deserialize_array(list(records), reader)
        columns = [
            batch.column(field.name)
            # Of another type it was another attribute, whose name was taken over.
            if batch.schema.get_field_index(field.name) >= 0
            and batch.schema.field(field.name).type == field.type
            else pa.nulls(batch.num_rows, field.type)
            for field in self.schema
        ]
        fields = [field.with_nullable(nullable=True) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _own(self, profiles: pa.RecordBatch) -> pa.RecordBatch:
        """Read as null what was written before its attribute began."""
        if not self._since or not profiles.num_rows:
            return profiles
        generations = profiles.column("generation")
        if pc.min(generations).as_py() >= self.newest_beginning:
            return profiles
        columns = {field.name: profiles.column(field.name) for field in profiles.schema}
        for name in self._since:
            before = pa.array(self.foreign(name, generations))
            nothing = pa.nulls(len(before), columns[name].type)
            columns[name] = pc.if_else(before, nothing, columns[name])
        return pa.RecordBatch.from_arrays([*columns.values()], schema=profiles.schema)


def schema_ids(records: Sequence[bytes]) -> NDArray[np.int32]:
    """Read the schema id of each framed record."""
    heads = b"".join([record[1:FRAME] for record in records])
    return np.frombuffer(heads, ">i4").astype(np.int32)


def newer_generation(found: int, ours: int) -> PartitionHalt:
    """Give a partition up that a replica with a newer configuration has written."""
    return PartitionHalt(
        "newer_generation",
        "Roll this replica forward to the configuration that the others have; or, if "
        "its own is to replace theirs, start it with `pos-consumer run --supersede`.",
        what=f"The partition was written by generation {found} of the configuration, "
        f"this process has {ours}.",
    )


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
