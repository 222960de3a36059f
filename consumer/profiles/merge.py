"""Fold a batch into stored profiles: what it adds becomes records, merged as bytes.

Enters: events with their slots, and the stored records of the slots. Leaves: the
merged records. Where each attribute's monoid has an operation on bytes, no stored
profile is decoded. Else, and for what is not as our encoder writes it, the batch takes
the way of columns, which is slower and means the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.profiles import merge_kernel as kernel
from consumer.profiles.algebra.additive import Additive
from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.edge import Edge
from consumer.profiles.algebra.extreme import Extreme
from consumer.profiles.algebra.keyed import Keyed
from consumer.profiles.algebra.recent import Recent
from consumer.profiles.buffer import PADDING, Buffer, Scratch
from consumer.profiles.lift import Fields, Lift, Unfit
from consumer.profiles.record import FRAME, HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from consumer.frames import Events
    from consumer.plan.compile import Plan
    from consumer.profiles.algebra.monoid import Aggregate
    from consumer.profiles.columns import Ints
    from consumer.profiles.fold import Fold, Slots, Times
    from consumer.profiles.record import ProfileCodec

STORAGES = {
    "int": kernel.LONG,
    "long": kernel.LONG,
    "double": kernel.DOUBLE,
    "string": kernel.STRING,
}
# What happens to the header's fields; the others are replaced.
ADDED_UP = {"version": kernel.ADD, "source_offset": kernel.GREATEST}

Operation: TypeAlias = tuple[int, int, int]


def _program(operations: Sequence[Operation]) -> NDArray[np.int64]:
    return np.array(operations, np.int64).reshape(-1, 3)


HEADER_PROGRAM = _program(
    [(ADDED_UP.get(n, kernel.REPLACE), STORAGES[kind], 0) for n, kind in HEADER]
)


class Stored:
    """The stored profiles of a batch's slots, as records of the current schema."""

    def __init__(self, found: Buffer, codec: ProfileCodec, fold: Fold) -> None:
        """Take a record a slot; a new visitor's is the neutral one.

        Raises `PartitionHalt` for a record of a schema that is not known.
        """
        self._codec = codec
        self.records = found
        foreign = found.longs_at(1) != codec.current.schema_id
        if codec.newest_beginning:
            # Of our schema, and yet of something else that had the attribute's name.
            foreign |= header_longs("generation", found) < codec.newest_beginning
        rows = np.flatnonzero(foreign).tolist()
        if rows:
            records = found.to_list()
            whole = fold.whole(codec.decode([records[row] for row in rows]))
            for row, record in zip(rows, codec.encode(whole), strict=True):
                records[row] = record
            self.records = Buffer.of(records)

    @cached_property
    def columns(self) -> pa.RecordBatch:
        """The profiles in columns: for what is seldom asked."""
        return self._codec.decode(self.records.to_list())


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged record of each slot.

    `keys` has the attributes that are top or distinct: how many keys each slot had,
    and has. `columns` has their headers, and their windows where the plan has any.
    """

    records: Buffer
    keys: Mapping[str, tuple[Ints, Ints]]
    columns: pa.RecordBatch | None = None


class Merger:
    """A plan's fold of records into records."""

    def __init__(self, plan: Plan, codec: ProfileCodec, fold: Fold) -> None:
        """Compile the plan into operations on the codec's records."""
        self._codec = codec
        self._fold = fold
        self._scratch, self._written = Scratch(), Scratch()
        aggregates = {a.name: aggregate_for(a) for a in plan.attributes}
        fields = codec.current.names[len(HEADER) :]
        self._keyed = [name for name in fields if isinstance(aggregates[name], Keyed)]
        self._program: NDArray[np.int64] | None = None
        plans = {a.name: a for a in plan.attributes}
        found = [(plans[name], operation(aggregates[name])) for name in fields]
        self._attributes = [(a, one) for a, one in found if one is not None]
        frame = codec.encode(fold.neutral(codec.schema))[0][:FRAME]
        self._frame = np.frombuffer(frame, np.uint8)
        if len(self._attributes) == len(fields):
            operations = _program([one for _, one in self._attributes])
            self._program = np.concatenate([HEADER_PROGRAM, operations])

    def reached(self, stored: Stored) -> Ints:
        """Give the offset of the last event that each stored profile has folded."""
        return header_longs("source_offset", stored.records)

    def merge(
        self,
        slots: Slots,
        events: Events,
        offsets: Ints,
        stored: Stored,
        times: Times,
    ) -> Merged:
        """Fold events into the stored profiles of all slots.

        `offsets` are the source offsets of the events. The records are good until the
        next merge. Raises `PartitionHalt` where a total no longer fits.
        """
        if self._program is not None:
            header = self._fold.header(slots, offsets, times)
            lift = Lift(events, slots.of_event, len(slots), self._scratch)
            try:
                added = lift.fields(header.columns, self._attributes)
                merged = self._merged(self._program, stored.records, added)
                return replace(merged, columns=header)
            except (Unfit, ValueError):
                pass  # an overflow, or not as we write it: columns tell which
        columns = self._fold.fold(slots, events, offsets, stored.columns, times)
        keys = {
            name: (_lengths(stored.columns, name), _lengths(columns, name))
            for name in self._keyed
        }
        records = Buffer.of_arrow(self._codec.encode_column(columns))
        return Merged(records, keys, columns)

    def _merged(self, program: NDArray[np.int64], old: Buffer, new: Fields) -> Merged:
        room = int(old.bounds[-1]) + len(new.data) + PADDING
        out = Buffer(self._written.room(room), np.zeros(len(old) + 1, np.int64))
        counts = np.empty((len(old), 2 * len(self._keyed)), np.int64)
        kernel.merge_records(
            program,
            old.data,
            old.bounds,
            new.data,
            new.bounds,
            self._frame,
            out.data,
            out.bounds,
            counts,
        )
        keys = {
            name: (counts[:, 2 * place], counts[:, 2 * place + 1])
            for place, name in enumerate(self._keyed)
        }
        return Merged(out, keys)


def operation(aggregate: Aggregate) -> Operation | None:
    """Give what a monoid's `combine` is on bytes; None where it has no such form."""
    match aggregate:
        case Additive():
            return kernel.TOTAL, kernel.LONG, 0
        case Extreme(storage=storage, least=least):
            return kernel.EXTREME, STORAGES[storage], int(least)
        case Edge(storage=storage, earliest=earliest):
            return kernel.EDGE, STORAGES[storage], int(earliest)
        case Keyed(storage=storage, weighted=weighted, dated=False):
            kind = kernel.WEIGHTS if weighted else kernel.KEYS
            return kind, STORAGES[storage], 0
        case Recent(storage=storage, n=most):
            return kernel.RECENT, STORAGES[storage], most
        case _:
            return None


def header_longs(name: str, records: Buffer) -> Ints:
    """Read a field of the header of each record; it is an int or a long."""
    found = np.empty(len(records), np.int64)
    field = [one for one, _ in HEADER].index(name)
    kernel.longs_of(HEADER_PROGRAM, records.data, records.bounds, field, found)
    return found


def _lengths(columns: pa.RecordBatch, name: str) -> Ints:
    lengths = pc.list_value_length(columns.column(name)).fill_null(0)
    found: Ints = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return found
