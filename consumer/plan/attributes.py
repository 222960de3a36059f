"""One configured attribute, compiled: which columns it needs and how Target sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

    from consumer.config.attributes import AttributeFormat
    from consumer.plan.values import ValueType

Aggregate = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "distinct",
    "top",
    "recent",
]
ADDITIVE: frozenset[Aggregate] = frozenset({"count", "sum", "mean"})
LISTED: frozenset[Aggregate] = frozenset({"top", "recent"})

# A sum of a batch's operands, and of ten million profiles' worth of them, fits a
# long; 10**13 minor units are a hundred billion. Beyond it an event is refused.
LARGEST_OPERAND = 10**13


@dataclass(frozen=True, slots=True)
class AttributePlan:
    """What the fold, the profile record and the rendering need to know.

    `operand` yields the folded value of one row in its storage type, null where the
    row takes no part; `weight`, where there is one, a long beside it. `kept` is the
    type in the profile, `shown` the type that `render` and `format` start from.
    `window` is a number of days in `time_zone`, None for all that ever happened.
    `definition` is the canonical text of what is folded: while it stays, a stored
    state stays good, however it is rendered.
    """

    name: str
    aggregate: Aggregate
    source: Literal["event", "items"]
    operand: pl.Expr
    weight: pl.Expr | None
    kept: ValueType
    shown: ValueType
    n: int
    max_keys: int
    window: int | None
    time_zone: str
    render: pl.Expr | None
    format: AttributeFormat
    sentinel: str | None
    summary: str
    definition: str

    @property
    def empties_to_zero(self) -> bool:
        """Whether nothing counts as 0: a window that has slid off must say so."""
        return self.window is not None and self.sentinel is None

    @property
    def operand_column(self) -> str:
        """The operand's column in `Events.operands` or `Items.operands`."""
        return self.name

    @property
    def weight_column(self) -> str | None:
        """The weight's column, None where every row weighs one."""
        return None if self.weight is None else f"{self.name}#by"
