"""What every aggregate is: a commutative monoid over columns.

A state holds, for every visitor slot of a batch, the partial result of one
attribute. `lift` turns the rows of a batch into a state, `combine` adds two states
slot by slot; both are associative and do not depend on the order of rows. The
neutral state is what an unknown visitor has. Rendering is the business of `render`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.profiles.algebra.avro import AvroType
    from consumer.profiles.operands import Rows


class Aggregate(Protocol):
    """One attribute's monoid; the state's type is the implementation's own."""

    @property
    def field(self) -> AvroType:
        """The Avro type of the state."""

    def lift(self, rows: Rows) -> Any:  # noqa: ANN401 - each has its own state
        """Fold the rows of each slot into a state of `rows.count` slots."""

    def combine(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Add two states of equally many slots."""

    def to_arrow(self, state: Any) -> pa.Array:  # noqa: ANN401
        """Give the state as a column of profile records."""

    def from_arrow(self, array: pa.Array) -> Any:  # noqa: ANN401
        """Read the state from a column of profile records; null means neutral."""
