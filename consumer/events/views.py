"""Columns that have views where their type says texts or bytes, and the way to those.

To Arrow's types a view is another type, and its `take` and `filter` know none; polars'
texts are views, and it takes both for the same.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

VIEWS: Final = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
COPIES: Final = {view: kind for kind, view in VIEWS.items()}


def without_views(array: pa.Array) -> pa.Array:
    """Copy the texts and bytes that an array has views of."""
    kind = _copied(array.type)
    return array if kind == array.type else array.cast(kind)


def _copied(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _copied(one.type)) for one in kind])
    if pa.types.is_map(kind):
        return pa.map_(_copied(kind.key_type), _copied(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(_copied(kind.value_type))
    return COPIES.get(kind, kind)
