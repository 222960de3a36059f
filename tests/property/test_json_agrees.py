"""Broken JSON: the fast way and the safe way agree, whatever stands beside a record."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.events.framing import FRAME
from consumer.events.json_codec import ROW, JsonCodec, _is_odd
from tests.property.budget import examples

COLUMNS: dict[str, Any] = {
    "id": "string",
    "count": "long",
    "ratio": "double",
    "paid": "boolean",
    "total": "decimal(10, 2)",
    "day": "date",
    "at": "timestamp",
    "ms": "timestamp-millis",
    "customer": {"loyalty_id": "string", "since": "date"},
    "items": [{"sku": "string", "price": "decimal(8, 3)", "tags": ["string"]}],
}
HEAD = bytes(FRAME)
CODEC = JsonCodec(COLUMNS)
SAMPLE = CODEC.sample(20)
VALUES: list[Any] = [
    *(0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 1.5, 1e300, True, None, "", "12.34"),
    *("1e2", "1e-2", "12.340", "12.345", "-0", "+1", ".5", "5.", " 1", "NaN", "0x1"),
    *("99999999.99", "999999999999", "2024-02-29", "2023-02-29", "2024-1-1"),
    *("2024-02-29T12:00:00Z", "2024-02-29 12:00", "2024-02-29T12:00:00.1234567Z"),
    *("2024-02-29T12:00:00+02:00", "2024-02-29T12", "20240229", "1e400", "0001-01-01"),
    *(
        "9999-12-31T23:59:59.999999-12:00",
        "2024-02-29T24:00:00",
        "2024-02-29T12:00:60Z",
    ),
    *([], {}, [1], {"loyalty_id": 7}, [{"sku": "a"}], [None], [[]], "x" * 300),
]
RAW = [
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"01",
        b"1.0",
        b"1e2",
        b"-0",
        b"-0.0",
        b"1e400",
    ),
    *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\x01"', b'"\\x"', b"'a'", b"nul", b""),
    *(
        b"1}",
        b'1}\n{"' + ROW.encode() + b'":0}\n{',
        b'"\n',
        b"/*c*/1",
        b"\xef\xbb\xbf1",
    ),
    b"12.34",
    b"12.345",
    b"99999999999999999999.5",
    b"123456789012345678901234567890",
    b"[" * 50,
]


def _list(found: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return found if isinstance(found, list) else []


def mutated(draw: random.Random) -> bytes:
    """Write an object with a wrong value here and there, or break its text."""
    datum = json.loads(draw.choice(SAMPLE)[FRAME:])
    for _ in range(draw.choice((0, 1, 1, 2))):
        where: Any = datum
        inner = [datum["customer"], *_list(datum["items"])]
        if draw.random() < 0.4:
            where = draw.choice(
                [one for one in inner if isinstance(one, dict)] or [datum]
            )
        where[draw.choice([*where, "other"])] = deepcopy(draw.choice(VALUES))
    text = json.dumps(datum, ensure_ascii=draw.random() < 0.5).encode()
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        at = draw.randint(0, len(text))
        match draw.randrange(5):
            case 0:
                text = text[:at]
            case 1:
                text = text[:at] + draw.choice(RAW) + text[at:]
            case 2:
                name = draw.choice([*COLUMNS, "other"]).encode()
                text = b'{"%b":%b,' % (name, draw.choice(RAW)) + text[1:]
            case 3:
                text += draw.choice([b"\n", b" ", b"x", b"{}", b"\0"])
            case _:
                text = text[:at] + text[at + 1 :]
    return HEAD + text


@examples(60)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([1, 5, 60, 700]))
def test_fast_and_safe_decode_alike(seed: int, size: int) -> None:
    """Rows, reasons and columns are those of the safe way alone."""
    draw = random.Random(seed)
    batch = [mutated(draw) for _ in range(size)]
    found = CODEC.decode(batch)
    safe = CODEC._decode_safe(batch, np.arange(size))
    assert found.rows.tolist() == safe.rows.tolist()
    assert [(one.row, one.sentence) for one in found.refusals] == [
        (one.row, one.sentence) for one in safe.refusals
    ]
    assert pl.DataFrame(found.columns).equals(pl.DataFrame(safe.columns))
    for row in set(range(size)) - set(safe.rows.tolist()):
        assert _is_odd(batch[row]) or not CODEC._tried(batch, np.array([row]))


@pytest.mark.parametrize(
    ("column", "text", "why"),
    [
        ("id", b"7", "7 where a string is expected"),
        ("count", b"1.5", '"1.5" where a long is expected'),
        ("total", b"12.345", "where a decimal(10, 2) is expected"),
        ("at", b'"yesterday"', "where a time (ISO 8601) is expected"),
        ("customer", b"[]", "[] where an object is expected"),
        ("ratio", b"NaN", "too large for a double"),
        ("items", b'[{"sku":"a"},{"sku":1}]', "items.[1].sku: 1 where a string"),
    ],
)
def test_a_dead_letter_names_the_field_and_what_stands_there(
    column: str, text: bytes, why: str
) -> None:
    """One value of another type is the whole reason."""
    record = HEAD + b'{"%b":%b}' % (column.encode(), text)
    (refusal,) = CODEC.decode([record]).refusals
    assert refusal.reason == "undecodable"
    assert why in refusal.sentence
    assert column in refusal.sentence


@pytest.mark.parametrize("begin", [b"[", b'{"a":'])
def test_nesting_without_end_takes_nothing_down(begin: bytes) -> None:
    """A record of a million brackets is refused, its neighbours are read."""
    deep = HEAD + b'{"id":"x","other":' + begin * 1_000_000 + b"1}"
    shallow = HEAD + b'{"id":"x","other":' + begin * 9_000 + b"1}"
    found = CODEC.decode([CODEC.sample()[0], deep, shallow, CODEC.sample()[1]])
    assert found.rows.tolist() == [0, 3]
    assert len(found.refusals) == 2
