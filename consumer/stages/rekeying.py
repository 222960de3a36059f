"""Records keyed by anything to records keyed by visitor. Pure.

Enters: a batch of records as they are in the source. Leaves: which of them go on and
under which key, and the verdicts on the others. The bytes are not touched: the
aggregate stage decodes them again, and judges everything but the visitor itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.frames import DeadLetter, Outcome, Verdicts

if TYPE_CHECKING:
    from consumer.events.decode import Schemas
    from consumer.frames import Records
    from consumer.plan.compile import Plan

# Lengths, deltas, the checksum of the batch and the origin that is added.
FRAMING_BYTES = 300


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """A batch: rows that go on, in order, with their keys, and all verdicts.

    The outcome `folded` of a row that goes on says only that it was not refused here.
    """

    rows: list[int]
    keys: list[bytes]
    verdicts: Verdicts

    def ended(self) -> dict[Outcome, int]:
        """Count the records that go no further, by outcome."""
        counts = self.verdicts.counts()
        counts[Outcome.FOLDED] -= len(self.rows)
        return counts


class Rekeying:
    """Finds the visitors of records, and nothing else of them."""

    def __init__(self, plan: Plan, schemas: Schemas, largest_record: int) -> None:
        """Refuse records that would exceed `largest_record` bytes under their key."""
        self._decoder = Decoder(schemas, Mapper(visitors_only(plan)))
        self._largest = largest_record

    def work(self, records: Records) -> Rekeyed:
        """Find the key of each record. Raises `PartitionHalt` as the decoder does."""
        verdicts = Verdicts.of(len(records))
        events = self._decoder.decode(records, verdicts)
        if events is None:
            return Rekeyed([], [], verdicts)
        rows, keys = [], []
        visitors = events.identity["visitor"].to_list()
        for row, visitor in zip(events.records.tolist(), visitors, strict=True):
            key = visitor.encode()
            size = FRAMING_BYTES + len(key) + len(records.values[row] or b"")
            if size > self._largest:
                verdicts.refuse(DeadLetter(row, "record_too_large", TOO_LARGE))
                continue
            rows.append(row)
            keys.append(key)
        return Rekeyed(rows, keys, verdicts)


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
    )
