"""States as Avro types and as Arrow columns of profile records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from consumer.profiles.columns import Ints

AvroType: TypeAlias = "str | dict[str, Any] | list[Any]"


def avro_record(name: str, **fields: AvroType) -> dict[str, Any]:
    """Describe the state of attribute `name`: a record with the given fields."""
    return {
        "type": "record",
        "name": f"{name}_state",
        "fields": [{"name": key, "type": kind} for key, kind in fields.items()],
    }


def struct_column(**children: Any) -> pa.StructArray:  # noqa: ANN401 - columns or arrays
    """Make a struct column of child columns."""
    return pa.StructArray.from_arrays(
        [pa.array(child) for child in children.values()], names=list(children)
    )


def list_column(offsets: Ints, entries: pa.Array) -> pa.ListArray:
    """Make a list column of offsets and entries."""
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), entries)


def list_entries(array: pa.ListArray) -> tuple[Ints, pa.Array]:
    """Give offsets that begin at 0 and the entries; a null row owns none."""
    lengths = pc.list_value_length(array).fill_null(0)
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))])
    return offsets.astype(np.int64), array.flatten()
