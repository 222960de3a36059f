"""Percent-encoding of whole columns."""

from __future__ import annotations

from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target import percent

CELLS = st.lists(
    st.none()
    | st.text(max_size=20)
    | st.text("abc-._~019", max_size=8)
    | st.text("%, +/&=é漢😀\x00\n", max_size=8)
)


def quoted(cells: list[str | None]) -> list[bytes]:
    """Encode with the standard library, cell by cell."""
    return [quote(cell or "", safe="").encode() for cell in cells]


@given(CELLS)
def test_every_cell_equals_quote(cells: list[str | None]) -> None:
    """Each cell is what urllib.parse.quote makes of it; null is empty."""
    assert percent.encode(pa.array(cells, pa.string())).to_pylist() == quoted(cells)


@given(CELLS, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_is_encoded_like_its_cells(
    cells: list[str | None], start: int, drop: int
) -> None:
    """A slice of a column gives its own cells only."""
    end = max(start, len(cells) - drop)
    column = pa.array(cells, pa.string())[start:end]
    assert percent.encode(column).to_pylist() == quoted(cells[start:end])


@pytest.mark.parametrize("distinct", [3, 5_000])
def test_long_columns_are_encoded_alike_whether_values_repeat_or_not(
    distinct: int,
) -> None:
    """The dictionary path and the scatter path agree with quote."""
    cells: list[str | None] = [
        None if i % 7 == 0 else f"Käse & Brot {i % distinct}" for i in range(10_000)
    ]
    assert percent.encode(pa.array(cells, pa.string())).to_pylist() == quoted(cells)


def test_every_byte_of_latin_1_is_encoded_like_quote() -> None:
    """All characters up to 255 are kept or escaped exactly as quote does."""
    cells: list[str | None] = [chr(code) for code in range(256)]
    assert percent.encode(pa.array(cells)).to_pylist() == quoted(cells)
