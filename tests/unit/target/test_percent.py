"""Percent-encoding of whole columns into lines."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target import percent, percent_kernel

CELL = (
    st.none()
    | st.text(max_size=20)
    | st.text("abc-._~019", max_size=8)
    | st.text("%, +/&=é漢😀\x00\n", max_size=8)
)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1)
)
STRINGS = st.sampled_from([pa.string(), pa.large_string()])


def quoted(rows: list[list[str | None]]) -> list[bytes]:
    """Encode with the standard library, cell by cell."""
    cells = ([quote(cell or "", safe="") for cell in row] for row in rows)
    return [f"{','.join(row)}\n".encode("ascii") for row in cells]


def columns(rows: list[list[str | None]], kind: pa.DataType) -> list[pa.Array]:
    """Make the columns of rows."""
    return [pa.array(cells, kind) for cells in zip(*rows, strict=True)]


@given(ROWS, STRINGS)
def test_every_cell_equals_quote(
    rows: list[list[str | None]], kind: pa.DataType
) -> None:
    """Each cell is what urllib.parse.quote makes of it; null is empty."""
    assert percent.lines(columns(rows, kind)).to_pylist() == quoted(rows)


@given(ROWS, STRINGS, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_is_encoded_like_its_cells(
    rows: list[list[str | None]], kind: pa.DataType, start: int, drop: int
) -> None:
    """A slice of a column gives its own cells only."""
    end = max(start, len(rows) - drop)
    sliced = [column[start:end] for column in columns(rows, kind)]
    assert percent.lines(sliced).to_pylist() == quoted(rows[start:end])


def test_what_lies_under_a_null_is_not_sent() -> None:
    """Arrow may keep bytes where a cell is null."""
    text = pa.array(["a", "secret", "c"], pa.large_string())
    _, offsets, data = text.buffers()
    valid = pa.py_buffer(bytes([0b101]))
    hidden = pa.LargeStringArray.from_buffers(3, offsets, data, valid)
    assert percent.lines([hidden]).to_pylist() == [b"a\n", b"\n", b"c\n"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_every_byte_of_latin_1_is_encoded_like_quote(kind: pa.DataType) -> None:
    """All characters up to 255 are kept or escaped exactly as quote does."""
    rows: list[list[str | None]] = [[chr(code), "é" * code] for code in range(256)]
    assert percent.lines(columns(rows, kind)).to_pylist() == quoted(rows)


def test_one_compilation_serves_every_column() -> None:
    """What `warm` has compiled is what a batch calls."""
    percent.warm()
    loop = cast("Any", percent_kernel.write_lines)
    before = len(loop.signatures)
    for kind in (pa.string(), pa.large_string()):
        percent.lines(columns([["a", None], ["", "é"]], kind))
        percent.lines([pa.array([], kind)])
        percent.lines([pa.array(["", ""], kind)])
    assert before == len(loop.signatures) == 1
