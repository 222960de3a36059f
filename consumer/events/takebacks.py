"""Attributes that count what takes something back, and cannot take it back. Pure.

Enters: a plan and made-up events of a schema. Leaves: for each attribute that does not
retract the values, such as VOID, whose events it takes in. Only a schema that lists its
kinds of events as an enum shows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from consumer.events.mapping import Mapper
from consumer.events.resolve import resolution

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.events.avro_types import Type
    from consumer.frames import Events
    from consumer.plan.compile import Plan

RETRACTS: Final = frozenset({"count", "sum", "mean", "top"})
TAKES_BACK: Final = re.compile(
    r"RETURN|REFUND|VOID|CANCEL|REVERS|STORNO", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Takeback:
    """An attribute that takes in events whose `column` says that they take back."""

    attribute: str
    aggregate: str
    column: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a sentence, with what to do."""
        listed = ", ".join(self.values)
        return (
            f"attributes.{self.attribute} takes in events with {self.column} = "
            f"{listed}, but {self.aggregate} keeps what they would take back; leave "
            "them out in `where`, if that is not meant."
        )


def takebacks(plan: Plan, of: Type, sample: pa.RecordBatch) -> list[Takeback]:
    """Find them, in the order of the attributes, by made-up records of a type."""
    seen: list[Events] = []
    frame = pl.DataFrame(sample)
    columns, _ = resolution(of, of, plan.reads()).apply(sample)
    Mapper(plan, watch=seen.append).map(np.arange(len(frame)), pl.DataFrame(columns))
    found = []
    for attribute in plan.attributes:
        if attribute.aggregate in RETRACTS:
            continue
        taken: set[int] = set()
        for events in seen:
            items = events.items if attribute.source == "items" else None
            operands = events.operands if items is None else items.operands
            rows = np.flatnonzero(operands[attribute.operand_column].is_not_null())
            owners = rows if items is None else items.events[rows]
            taken.update(events.records[owners].tolist())
        for column in frame.select(pl.col(pl.String)).columns:
            values = frame[column].gather(sorted(taken)).drop_nulls().unique().to_list()
            named = tuple(sorted(one for one in values if TAKES_BACK.search(one)))
            if named:
                found.append(
                    Takeback(attribute.name, attribute.aggregate, column, named)
                )
    return found
