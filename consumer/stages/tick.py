"""The daily tick of some profiles: those whose windows slid are written anew. Pure.

Enters: a partition with its `day`, and entries of its agenda that are due. Leaves: what
one transaction writes for them, like that of a batch; profiles that have expired get
tombstones. Reads the store, writes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from consumer.profiles import state_records
from consumer.profiles.agenda import ENTRY, to_entries
from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed
from consumer.profiles.fold import first_kept
from consumer.profiles.rows import present_state
from consumer.profiles.store import Changes
from consumer.profiles.values import state_values
from consumer.stages.batch import PartitionOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.plan.attributes import AttributePlan
    from consumer.plan.compile import Plan
    from consumer.profiles.agenda import Agenda
    from consumer.profiles.columns import Ints
    from consumer.profiles.record import ProfileCodec
    from consumer.stages.batch import OpenPartition


class Tick:
    """Works agenda entries, with the configuration's plan."""

    def __init__(
        self, plan: Plan, codec: ProfileCodec, agenda: Agenda, *, generation: int
    ) -> None:
        """Take what is needed to read, render and write profiles."""
        self._codec = codec
        self._generation = generation
        self._attributes = plan.attributes
        self._agenda = agenda

    def begin(self, generation: int) -> None:
        """Write profiles of another generation from now on."""
        self._generation = generation

    def work(self, partition: OpenPartition, due: Sequence[bytes]) -> PartitionOutput:
        """Write the due profiles whose value has changed as of the partition's day.

        The output has no profile where none changed; then only the agenda did, which is
        the store's own.
        """
        keys = sorted({ENTRY.unpack(entry)[1] for entry in due})
        found = dict(zip(keys, partition.store.get_many(keys), strict=True))
        held = {key: value for key, value in found.items() if value is not None}
        settled = PartitionOutput(changes=Changes(settled=list(due)))
        if not held:
            return settled
        keys = list(held)
        stored = self._codec.decode(list(held.values()))
        today = np.full(len(keys), partition.day, np.int64)
        expired = self._agenda.expired(stored, partition.position.stream_time)
        slid = self._slid(stored, today) & ~expired
        renewed = self._renewed(stored, partition)
        next_days = self._agenda.days(renewed, today)[~expired]
        staying = [key for key, gone in zip(keys, expired, strict=True) if not gone]
        changes = replace(settled.changes, agenda=to_entries(next_days, staying))
        if not (slid | expired).any():
            return PartitionOutput(changes=changes)
        written = renewed.filter(pa.array(slid))
        values = self._codec.encode(written)
        position = replace(
            partition.position, day=partition.day, generation=self._generation
        )
        return PartitionOutput(
            profiles=[
                *zip(_visitors(written), values, strict=True),
                *((one, None) for one in _visitors(stored.filter(pa.array(expired)))),
            ],
            state=[*state_records.to_records(position, {}, [])],
            changes=replace(
                changes,
                profiles=list(zip(_at(keys, slid), values, strict=True)),
                gone=_at(keys, expired),
                position=position,
            ),
        )

    def _slid(self, stored: pa.RecordBatch, today: Ints) -> NDArray[np.bool_]:
        """Flag the profiles of which Target would get something else."""
        as_of = stored.column("as_of_day").fill_null(0).to_numpy().astype(np.int64)
        slid = np.zeros(len(today), bool)
        for plan in self._attributes:
            if plan.window is not None:
                column = stored.column(plan.name)
                before = state_values(plan, present_state(plan, column, as_of))
                after = state_values(plan, present_state(plan, column, today))
                slid |= before.ne_missing(after).to_numpy()
        return slid

    def _renewed(
        self, stored: pa.RecordBatch, partition: OpenPartition
    ) -> pa.RecordBatch:
        """Give the profiles as they are to be written: next version, as of today."""
        count = stored.num_rows
        columns = {name: stored.column(name) for name in stored.schema.names}
        for name in ("active_day", "erased_at"):
            columns[name] = columns[name].fill_null(0)
        versions = columns["version"].fill_null(0).to_numpy() + 1
        columns["version"] = pa.array(versions)
        columns["generation"] = pa.array(np.full(count, self._generation, np.int32))
        columns["as_of_day"] = pa.array(np.full(count, partition.day, np.int32))
        clock = np.full(count, partition.position.stream_time, np.int64)
        for plan in self._attributes:
            columns[plan.name] = _kept(plan, columns[plan.name], clock)
        return pa.RecordBatch.from_pydict(columns)


def _kept(plan: AttributePlan, column: pa.Array, clock: Ints) -> pa.Array:
    """Leave out the days that a window has forgotten; what is absent is neutral."""
    aggregate = aggregate_for(plan)
    state = aggregate.from_arrow(column)
    if plan.window is not None:
        first = first_kept(clock, plan.window, plan.time_zone)
        state = windowed(aggregate).since(state, first)
    elif not column.null_count:
        return column
    return aggregate.to_arrow(state)


def _visitors(profiles: pa.RecordBatch) -> list[bytes]:
    visitors: list[bytes] = profiles.column("visitor").cast(pa.binary()).to_pylist()
    return visitors


def _at(keys: list[bytes], flags: NDArray[np.bool_]) -> list[bytes]:
    return [keys[row] for row in np.flatnonzero(flags).tolist()]
