"""Rendered rows to the rows of an Adobe batch file, column by column.

A record batch enters (`visitor`, `version`, `generation`, then one text column per
attribute); encoded rows leave, each ending in its line break, so that a file is its
header followed by rows laid end to end. Rows that Target cannot take are told apart
before any call is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consumer.target.percent import lines

MOST_BYTES: Final = 50_000_000
"""A file is strictly smaller; Adobe writes 50 MB, read as the smaller megabyte."""

MOST_ROWS: Final = 500_000
LONGEST_VISITOR: Final = 256
LONGEST_VALUE: Final = 256
"""Characters of an attribute's value that a page can use; the bulk API takes more."""

UNUSUAL_VISITOR: Final = 128
"""Characters of a visitor id, beyond which Adobe advises against it."""

LARGEST_PROFILE: Final = 64_000
"""Names and values of one visitor, before encoding; Adobe writes 64 KB."""

LEADING_COLUMNS: Final = ("visitor", "version", "generation")

REASONS: Final = {
    "visitor_empty": "the visitor id is empty",
    "visitor_characters": "the visitor id holds + or /, which Target cannot take",
    "visitor_too_long": f"the visitor id is longer than {LONGEST_VISITOR} characters",
    "profile_too_large": f"names and values exceed {LARGEST_PROFILE:,} bytes",
    "all_empty": "no attribute has a value, so Target would skip the row",
    "value_too_long": f"a value is longer than {LONGEST_VALUE} characters",
}
WARNINGS: Final = ("long_visitor", "long_value")
"""What rows are counted for that are sent all the same."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """What became of a record batch.

    `kept` (int64) are the rows that can be sent, `rows` their encoded lines in the
    same order. `rejected` (int64) are the others, `reasons` the words for each;
    `warnings` counts the kept rows by each of `WARNINGS` that occurs.
    """

    kept: NDArray[np.int64]
    rows: pa.LargeBinaryArray
    rejected: NDArray[np.int64]
    reasons: Sequence[str]
    warnings: Mapping[str, int] = field(default_factory=dict)


def header(key: str, attributes: Sequence[str]) -> bytes:
    """Return the file's first line, with its line break."""
    names = ",".join(quote(name, safe="") for name in (key, *attributes))
    return f"batch={names}\n".encode("ascii")


def encode_rows(
    batch: pa.RecordBatch, *, reject_long_values: bool = False
) -> EncodedRows:
    """Encode every row that Target can take; give the reason for every other.

    Values beyond `LONGEST_VALUE` are counted, or rejected on demand.
    """
    attributes = batch.columns[len(LEADING_COLUMNS) :]
    names = batch.schema.names[len(LEADING_COLUMNS) :]
    visitor = pc.fill_null(batch.column("visitor"), "")
    long_values = _long_values(attributes)
    failed = _preflight(
        visitor, names, attributes, long_values if reject_long_values else None
    )
    bad = failed >= 0
    unusual = _longer(visitor, UNUSUAL_VISITOR)
    noted = {"long_visitor": unusual, "long_value": long_values}
    kept = np.flatnonzero(~bad)
    rejected = np.flatnonzero(bad)
    columns = [visitor, *attributes]
    if len(rejected):
        columns = [column.take(pa.array(kept)) for column in columns]
    words = tuple(REASONS)
    return EncodedRows(
        kept=kept,
        rows=_join(columns),
        rejected=rejected,
        reasons=[words[code] for code in failed[rejected]],
        warnings={
            what: count
            for what, found in noted.items()
            if found is not None and (count := int(np.count_nonzero(found & ~bad)))
        },
    )


def body(first_line: bytes, rows: pa.LargeBinaryArray) -> tuple[bytes, memoryview]:
    """Return a file as two parts that are sent one after the other, not copied."""
    _, offsets, data = rows.buffers()
    if data is None or not len(rows):
        return first_line, memoryview(b"")
    bounds = np.frombuffer(offsets, np.int64)[rows.offset :][: len(rows) + 1]
    return first_line, memoryview(data)[bounds[0] : bounds[-1]]


def _join(columns: Sequence[pa.Array]) -> pa.LargeBinaryArray:
    """Lay the columns out as lines, trailing empty cells trimmed."""
    needed = list(columns)
    while len(needed) > 1 and not _has_bytes(needed[-1]):
        needed.pop()  # a column that no row needs; header and order stay as they are
    return lines(needed)


def _has_bytes(cells: pa.Array) -> bool:
    return bool(len(cells)) and bool(pc.sum(pc.binary_length(cells)).as_py())


def _preflight(
    visitor: pa.Array,
    names: Sequence[str],
    attributes: Sequence[pa.Array],
    too_long: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Return for each row the index of its reason in `REASONS`, or -1."""
    size = np.zeros(len(visitor), np.int64)
    for column in attributes:
        size += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    named = sum(len(name.encode()) for name in names)
    tests = (
        pc.equal(pc.binary_length(visitor), 0).to_numpy(zero_copy_only=False),
        _any_of(visitor, ("+", "/")),
        pc.greater(pc.utf8_length(visitor), LONGEST_VISITOR).to_numpy(
            zero_copy_only=False
        ),
        size + named > LARGEST_PROFILE,
        size == 0,
        np.zeros(len(visitor), np.bool_) if too_long is None else too_long,
    )
    failed = np.full(len(visitor), -1, np.int64)
    for code in reversed(range(len(tests))):  # the first reason that holds is given
        failed[tests[code]] = code
    return failed


def _long_values(attributes: Sequence[pa.Array]) -> NDArray[np.bool_] | None:
    """Tell which rows hold a value beyond `LONGEST_VALUE`; None: no row does."""
    found = [
        long
        for column in attributes
        if (long := _longer(column, LONGEST_VALUE)) is not None
    ]
    return np.logical_or.reduce(found) if found else None


def _longer(column: pa.Array, characters: int) -> NDArray[np.bool_] | None:
    """Tell which cells have more characters; None: no cell has."""
    longest = pc.max(pc.binary_length(column)).as_py()
    if longest is None or longest <= characters:  # so many bytes are no more characters
        return None
    longer = pc.greater(pc.utf8_length(column), characters).fill_null(False)  # noqa: FBT003 - pyarrow's own signature
    cells: NDArray[np.bool_] = longer.to_numpy(zero_copy_only=False)
    return cells


def _any_of(column: pa.Array, characters: Sequence[str]) -> NDArray[np.bool_]:
    found = np.zeros(len(column), np.bool_)
    for character in characters:
        found |= pc.match_substring(column, character).to_numpy(zero_copy_only=False)
    return found
