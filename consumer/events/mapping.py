"""Decoded columns to events: identity, operands, items, and what is refused.

Enters: the columns of records, of whatever schema they were. Leaves: `Events` and a
dead letter for each record that is no event. An expression that fails on a batch is
tried again on halves, so that one bad record costs only itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from consumer.frames import DeadLetter, Events, Items
from consumer.plan.attributes import ADDITIVE, LARGEST_OPERAND
from consumer.plan.expressions import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from consumer.plan.attributes import AttributePlan
    from consumer.plan.compile import Plan

LONGEST_VISITOR = 256
# Target can take neither in a thirdPartyId, encoded or not (target-limits.md).
FORBIDDEN = r"[+/]"
# Floats that can be written without an exponent; times that can be written at all.
LARGEST_FLOAT = 1e18
DAYS = -719_162, 2_932_896
TIMES = DAYS[0] * 86_400_000_000, (DAYS[1] + 1) * 86_400_000_000 - 1
# No field of an Avro record can have this name.
ITEM = "#item"


@dataclass(frozen=True, slots=True)
class Mapped:
    """Events in the order of their records, and the records refused or filtered."""

    events: Events
    dead_letters: list[DeadLetter]
    filtered: list[int] = field(default_factory=list)


class Mapper:
    """Applies a plan to decoded columns."""

    def __init__(
        self, plan: Plan, *, watch: Callable[[Events], None] | None = None
    ) -> None:
        """Split the plan by what is evaluated on events and on items.

        `watch` is shown what was mapped, before events are refused for what they lack.
        """
        self._plan = plan
        self._watch = watch
        self._identity = [
            plan.event_id.alias("event_id"),
            plan.visitor.alias("visitor"),
            plan.key.alias("key"),
            plan.event_time.alias("event_time"),
        ]
        self._of_events = plan.reading("event")
        self._of_items = plan.reading("items")

    def reads(self) -> frozenset[tuple[str, ...]]:
        """Give the paths of the fields that are read."""
        return self._plan.reads()

    def map(self, rows: NDArray[np.int64], frame: pl.DataFrame) -> Mapped:
        """Map records; `rows` are their places in the batch, in any order."""
        frame = frame[[name for name in frame.columns if name in self._plan.columns]]
        if (rows[1:] < rows[:-1]).any():
            order = np.argsort(rows, kind="stable")  # runs in order: merged, not sorted
            rows, frame = rows[order], frame[order]
        return self._map(rows, frame)

    def _map(self, rows: NDArray[np.int64], frame: pl.DataFrame) -> Mapped:
        filtered: list[int] = []
        try:
            if self._plan.where is not None:
                where = self._plan.where.alias("where")
                keep = evaluate(frame, [where])["where"].to_numpy()
                filtered = rows[~keep].tolist()
                rows, frame = rows[keep], frame.filter(keep)
            events = self._events(rows, frame)
        except (PolarsError, PanicException) as error:
            return self._halve(rows, frame, error, filtered)
        if self._watch is not None:
            self._watch(events)
        return self._refuse(events, filtered)

    def _events(self, rows: NDArray[np.int64], frame: pl.DataFrame) -> Events:
        return Events(
            rows,
            evaluate(frame, self._identity),
            evaluate(frame, self._plan.operands(self._of_events)),
            self._items(frame),
        )

    def _halve(
        self,
        rows: NDArray[np.int64],
        frame: pl.DataFrame,
        error: PolarsError | PanicException,
        filtered: list[int],
    ) -> Mapped:
        if len(rows) == 1:
            why = str(error).strip().splitlines()[0]
            letter = DeadLetter(int(rows[0]), "expression_failed", f"{why}.")
            empty = self._events(rows[:0], frame.clear())
            return Mapped(empty, [letter], filtered)
        half = len(rows) // 2
        first = self._map(rows[:half], frame[:half])
        second = self._map(rows[half:], frame[half:])
        letters = first.dead_letters + second.dead_letters
        filtered += first.filtered + second.filtered
        return Mapped(joined([first.events, second.events]), letters, filtered)

    def _items(self, frame: pl.DataFrame) -> Items | None:
        plan = self._plan
        if plan.items is None:
            return None
        listed = frame.select(plan.items.alias("items"))["items"]
        lengths = listed.list.len().fill_null(0).to_numpy().astype(np.int64)
        owners = np.repeat(np.arange(len(frame)), lengths)
        index = np.arange(len(owners)) - np.repeat(
            np.cumsum(lengths) - lengths, lengths
        )
        own = listed.explode(empty_as_null=False, keep_nulls=False).struct.unnest()
        seen = pl.DataFrame({ITEM: index})
        if plan.inherited or plan.outer:
            outer = frame.select(plan.inherited | plan.outer)[owners]
            seen = seen.hstack(
                outer.select(*plan.inherited, pl.struct(pl.all()).alias("event"))
            )
        seen = seen.hstack([own[n] for n in own.columns if n in plan.item_columns])
        operands = evaluate(seen, plan.operands(self._of_items))
        return Items(owners, index.astype(np.int32), operands)

    def _refuse(self, events: Events, filtered: list[int]) -> Mapped:
        """Take out the events without an identity and those out of range."""
        visitor, identity = pl.col("visitor"), events.identity
        checks = identity.select(
            missing_visitor=visitor.is_null() | (visitor.str.len_bytes() == 0),
            invalid_visitor=(visitor.str.len_chars() > LONGEST_VISITOR)
            | visitor.str.contains(FORBIDDEN),
            missing_event_id=pl.col("event_id").is_null()
            | (pl.col("event_id").str.len_bytes() == 0),
            missing_event_time=pl.col("event_time").is_null(),
        )
        refused = np.zeros(len(events), bool)
        letters = []
        flags = {
            name: checks[name].fill_null(value=False).to_numpy() for name in REASONS
        }
        flags["out_of_range"] = self._out_of_range(events)
        flags["out_of_range"] |= _beyond(identity["event_time"], *TIMES)
        if self._plan.without_visitor == "filter":
            refused |= flags.pop("missing_visitor")
            filtered += events.records[refused].tolist()
        for reason, flagged in flags.items():
            for row in np.flatnonzero(flagged & ~refused).tolist():
                record = int(events.records[row])
                letters.append(DeadLetter(record, reason, SENTENCES[reason]))
            refused |= flagged
        return Mapped(events.where(~refused), letters, filtered)

    def _out_of_range(self, events: Events) -> NDArray[np.bool_]:
        flagged = np.zeros(len(events), bool)
        for plan in self._of_events:
            flagged |= _too_large(plan, events.operands)
        if events.items is not None:
            for plan in self._of_items:
                large = _too_large(plan, events.items.operands)
                flagged[events.items.events[large]] = True
        return flagged


REASONS = (
    "missing_visitor",
    "invalid_visitor",
    "missing_event_id",
    "missing_event_time",
)
SENTENCES = {
    "missing_visitor": "The event names no visitor.",
    "invalid_visitor": "Target cannot take this visitor id: at most 256 characters, "
    "neither + nor /.",
    "missing_event_id": "The event has no id, so repeats of it could not be told.",
    "missing_event_time": "The event has no time.",
    "out_of_range": f"A number is beyond {LARGEST_OPERAND:,}, which sums do not take, "
    f"a float beyond {LARGEST_FLOAT:.0e}, or a time outside the years 1 to 9999.",
}


def joined(parts: list[Events]) -> Events:
    """Put events behind each other; their operands have the same columns."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    holders = [
        (start, part.items)
        for start, part in zip(starts.tolist(), parts, strict=True)
        if part.items is not None
    ]
    items = None
    if holders:
        items = Items(
            np.concatenate([one.events + start for start, one in holders]),
            np.concatenate([one.index for _, one in holders]),
            pl.concat([one.operands for _, one in holders]),
        )
    return Events(
        np.concatenate([part.records for part in parts]),
        pl.concat([part.identity for part in parts]),
        pl.concat([part.operands for part in parts]),
        items,
    )


def _too_large(plan: AttributePlan, operands: pl.DataFrame) -> NDArray[np.bool_]:
    flagged = np.zeros(len(operands), bool)
    if plan.weight_column:
        weights = operands[plan.weight_column]
        flagged |= _beyond(weights, -LARGEST_OPERAND, LARGEST_OPERAND)
    if limits := _limits(plan):
        flagged |= _beyond(operands[plan.operand_column], *limits)
    return flagged


def _limits(plan: AttributePlan) -> tuple[float, float] | None:
    """Give what operands lie between: what can be added up, and what can be shown."""
    match plan.kept.logical:
        case "float":
            return -LARGEST_FLOAT, LARGEST_FLOAT
        case "date":
            return DAYS
        case "datetime":
            return TIMES
        case _ if plan.aggregate in ADDITIVE:
            return -LARGEST_OPERAND, LARGEST_OPERAND
        case _:
            return None


def _beyond(values: pl.Series, least: float, most: float) -> NDArray[np.bool_]:
    outside: NDArray[np.bool_] = (
        (~values.is_between(least, most)).fill_null(value=False).to_numpy()
    )
    return outside
