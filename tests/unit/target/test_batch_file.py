"""Batch files: rows, header, limits and what is rejected before any call."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.target.batch_file import (
    LARGEST_PROFILE,
    LONGEST_VALUE,
    LONGEST_VISITOR,
    REASONS,
    UNUSUAL_VISITOR,
    body,
    encode_rows,
    header,
)

NAMES = ("orders", "größte, Bestellung")
TEXT = st.text(max_size=12)
ROWS = st.lists(
    st.tuples(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="+/"),
            min_size=1,
            max_size=12,
        ),
        st.none() | TEXT,
        st.none() | TEXT,
    ).filter(lambda row: row[1] or row[2]),
    max_size=20,
)


def batch(rows: list[tuple[str, str | None, str | None]]) -> pa.RecordBatch:
    """Make what the renderer gives."""
    visitors, first, second = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.record_batch(
        {
            "visitor": pa.array(visitors, pa.string()),
            "version": pa.array(range(len(rows)), pa.int64()),
            "generation": pa.array([1] * len(rows), pa.int32()),
            NAMES[0]: pa.array(first, pa.string()),
            NAMES[1]: pa.array(second, pa.string()),
        }
    )


def parse(file: bytes) -> list[dict[str, str]]:
    """Read a batch file by Adobe's words alone: lines, commas, percent-decoding."""
    first, *lines = file.decode("ascii").removesuffix("\n").split("\n")
    names = [
        unquote_to_bytes(name).decode()
        for name in first.removeprefix("batch=").split(",")
    ]
    result = []
    for line in lines:
        cells = [unquote_to_bytes(cell).decode() for cell in line.split(",")]
        assert len(cells) <= len(names)
        result.append(dict(zip(names, cells, strict=False)))
    return result


@given(ROWS)
def test_a_file_is_read_back_by_an_independent_parser(
    rows: list[tuple[str, str | None, str | None]],
) -> None:
    """Visitors and values come back as they were; empty values may be missing."""
    encoded = encode_rows(batch(rows))
    first, rest = body(header("thirdPartyId", NAMES), encoded.rows)
    read = parse(first + bytes(rest))
    assert [row["thirdPartyId"] for row in read] == [row[0] for row in rows]
    for name, place in zip(NAMES, (1, 2), strict=True):
        assert [row.get(name, "") for row in read] == [row[place] or "" for row in rows]


def test_the_header_keeps_the_order_and_encodes_names() -> None:
    """The first line names the key, then the attributes in their order."""
    line = header("pcId", ("b", "a,c"))
    assert line == b"batch=pcId,b,a%2Cc\n"


def test_columns_that_are_empty_for_every_row_are_trimmed_at_the_end() -> None:
    """Trailing empty columns cost no commas."""
    encoded = encode_rows(batch([("v", "1", None), ("w", "2", "")]))
    assert encoded.rows.to_pylist() == [b"v,1\n", b"w,2\n"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", "1", None), "visitor_empty"),
        (("a+b", "1", None), "visitor_characters"),
        (("a/b", "1", None), "visitor_characters"),
        (("x" * (LONGEST_VISITOR + 1), "1", None), "visitor_too_long"),
        (("v", "x" * LARGEST_PROFILE, None), "profile_too_large"),
        (("v", None, ""), "all_empty"),
    ],
)
def test_rows_that_target_cannot_take_are_told_apart(
    row: tuple[str, str | None, str | None], reason: str
) -> None:
    """A bad row gets its reason; the rows beside it go on."""
    encoded = encode_rows(batch([("a", "1", None), row, ("b", "2", None)]))
    assert encoded.rejected.tolist() == [1]
    assert list(encoded.reasons) == [reason]
    assert encoded.kept.tolist() == [0, 2]
    assert encoded.rows.to_pylist() == [b"a,1\n", b"b,2\n"]
    assert reason in REASONS


LONG = "é" * (LONGEST_VALUE + 1)


def test_long_values_and_visitors_are_sent_and_counted() -> None:
    """Characters count, not bytes, and only rows that are sent."""
    rows: list[tuple[str, str | None, str | None]] = [
        ("a", "é" * LONGEST_VALUE, None),
        ("b", LONG, LONG),
        ("c", None, LONG),
        ("a+b", LONG, None),
        ("x" * (UNUSUAL_VISITOR + 1), "1", None),
    ]
    encoded = encode_rows(batch(rows))
    assert encoded.kept.tolist() == [0, 1, 2, 4]
    assert encoded.warnings == {"long_value": 2, "long_visitor": 1}
    assert not encode_rows(batch(rows[:1])).warnings


def test_long_values_are_rejected_on_demand() -> None:
    """Their rows alone, with the reason."""
    rows: list[tuple[str, str | None, str | None]] = [
        ("a", "1", None),
        ("b", "1", LONG),
        ("c", None, None),
    ]
    encoded = encode_rows(batch(rows), reject_long_values=True)
    assert encoded.kept.tolist() == [0]
    assert list(encoded.reasons) == ["value_too_long", "all_empty"]
    assert not encoded.warnings


def test_the_longest_visitor_and_the_largest_profile_are_taken() -> None:
    """Limits are inclusive; characters count, not bytes."""
    names = sum(len(name.encode()) for name in NAMES)
    rows: list[tuple[str, str | None, str | None]] = [
        ("é" * LONGEST_VISITOR, "x" * (LARGEST_PROFILE - names), None)
    ]
    assert encode_rows(batch(rows)).kept.tolist() == [0]
