"""Records keyed by anything to records keyed by visitor. Pure.

Enters: a batch of records as they are in the source. Leaves: which of them go on and
under which key, and the verdicts on the others. The bytes are not touched: the
aggregate stage decodes them again, and judges everything but the visitor itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.frames import DeadLetter, Outcome, Verdicts
from consumer.packed import Packed
from consumer.stages.held import waiting
from consumer.stages.too_many import count_dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.errors import PartitionHalt
    from consumer.events.dead_letter_limits import DeadLetterLimits
    from consumer.events.decode import Schemas
    from consumer.events.grace import SchemaGrace
    from consumer.frames import Events, Records, Tally
    from consumer.plan.compile import Plan

# Lengths, deltas, the checksum of the batch and the origin that is added.
FRAMING_BYTES = 300


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """A batch: rows that go on, in order, with their keys, and all verdicts.

    `records` may be fewer than entered: what is behind a record that waits or halts its
    partition is left out. The outcome `folded` of a row that goes on says only that it
    was not refused here.
    """

    records: Records
    rows: list[int]
    keys: list[bytes]
    verdicts: Verdicts
    tallies: dict[int, Tally] = field(default_factory=dict)
    halts: dict[int, PartitionHalt] = field(default_factory=dict)
    waits: dict[int, str] = field(default_factory=dict)

    def ended(self) -> dict[Outcome, int]:
        """Count the records that go no further, by outcome."""
        counts = self.verdicts.counts()
        counts[Outcome.FOLDED] -= len(self.rows)
        return counts


class Rekeying:
    """Finds the visitors of records, and nothing else of them."""

    def __init__(
        self,
        plan: Plan,
        schemas: Schemas,
        *,
        largest_record: int,
        grace: SchemaGrace | None = None,
        limits: DeadLetterLimits | None = None,
    ) -> None:
        """Refuse records that would exceed `largest_record` bytes under their key.

        A partition with more dead letters than `limits` allow halts.
        """
        self._decoder = Decoder(schemas, Mapper(visitors_only(plan)), grace)
        self._largest = largest_record
        self._limits = limits

    def work(self, records: Records, tallies: Mapping[int, Tally]) -> Rekeyed:
        """Find the key of each record; `tallies` are those of their partitions."""
        verdicts = Verdicts.of(len(records))
        events = self._decoder.decode(records, verdicts)
        if verdicts.held:
            waits, left = waiting(records, verdicts)
            rest = self.work(records.take(np.flatnonzero(~left)), tallies)
            rest.waits.update(waits)
            return rest
        rows, keys = self._keys(records, events, verdicts)
        after, halts, cut = count_dead_letters(records, verdicts, tallies, self._limits)
        if halts:
            rest = self.work(records.take(np.flatnonzero(~cut)), tallies)
            rest.halts.update(halts)
            return rest
        return Rekeyed(records, rows, keys, verdicts, after)

    def _keys(
        self, records: Records, events: Events | None, verdicts: Verdicts
    ) -> tuple[list[int], list[bytes]]:
        rows: list[int] = []
        keys: list[bytes] = []
        if events is None:
            return rows, keys
        visitors = events.identity["visitor"].to_list()
        sizes = Packed.of(records.values).sizes[events.records].tolist()
        found = zip(events.records.tolist(), visitors, sizes, strict=True)
        for row, visitor, size in found:
            key = visitor.encode()
            if FRAMING_BYTES + len(key) + size > self._largest:
                verdicts.refuse(DeadLetter(row, "record_too_large", TOO_LARGE))
                continue
            rows.append(row)
            keys.append(key)
        return rows, keys


TOO_LARGE = "The topic of rekeyed records takes no record of this size."


def visitors_only(plan: Plan) -> Plan:
    """Reduce a plan to the visitor: no attribute, no id, no time."""
    read = plan.visitor.meta.root_names()
    return replace(
        plan,
        event_id=plan.visitor,
        key=plan.visitor,
        event_time=pl.lit(0, pl.Int64),
        items=None,
        columns={n: t for n, t in plan.columns.items() if n in read},
        item_columns=frozenset(),
        inherited=frozenset(),
        outer=frozenset(),
        attributes=(),
        where=None,
    )
