"""Random Avro schemas, and random bytes that nearly fit them."""

from __future__ import annotations

import io
import itertools
import json
from typing import TYPE_CHECKING, Any

import fastavro
from hypothesis import strategies as st

from consumer.events.framing import FRAME
from consumer.events.made_up import datum

if TYPE_CHECKING:
    import random

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-millis"),
    ("string", "uuid"),
    ("long", "made-up"),
]
EXTREMES = [
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x80\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 9 + b"\x7f",
    b"\x80" * 10 + b"\x00",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x40",
    b"\xed\xa0\x80",
]


def _decimal(base: dict[str, Any], digits: int, scale: int) -> dict[str, Any]:
    about = {"logicalType": "decimal", "precision": digits, "scale": min(scale, digits)}
    return {**base, **about}


LEAVES = st.one_of(
    st.sampled_from(PRIMITIVES),
    st.sampled_from(LOGICAL).map(lambda p: {"type": p[0], "logicalType": p[1]}),
    st.builds(
        _decimal, st.just({"type": "bytes"}), st.integers(1, 38), st.integers(0, 12)
    ),
    st.sampled_from([0, 1, 4, 4, 8, 8, 12, 16, 20, 23]).map(
        lambda size: {"type": "fixed", "size": size}
    ),
    st.builds(
        _decimal,
        st.sampled_from([4, 8, 12, 16, 20]).map(lambda n: {"type": "fixed", "size": n}),
        st.integers(1, 9),
        st.integers(0, 5),
    ),
    st.just({"type": "fixed", "size": 16, "logicalType": "uuid"}),
    st.integers(1, 5).map(
        lambda n: {"type": "enum", "symbols": [f"S{i}" for i in range(n)]}
    ),
)


def _record(kinds: list[Any]) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": kind} for i, kind in enumerate(kinds)]
    return {"type": "record", "fields": fields}


def _union(kinds: list[Any]) -> Any:  # noqa: ANN401 - an Avro type
    """Keep what may stand together: no union in a union, no type twice."""
    kept: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        if isinstance(kind, list):
            continue
        base = kind if isinstance(kind, str) else kind["type"]
        named = base in {"record", "enum", "fixed"}
        kept.setdefault(f"{base}{number}" if named else base, kind)
    return [*kept.values()] if kept.keys() - {"null"} else ["null", "string"]


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda kind: {"type": "array", "items": kind}),
        inner.map(lambda kind: {"type": "map", "values": kind}),
        st.lists(inner, max_size=4).map(_record),
        st.lists(inner, min_size=1, max_size=4).map(_union),
        inner.map(lambda kind: _union(["null", kind])),
        inner.map(lambda kind: _union([kind, "null"])),
    )


def _named(kind: Any, numbers: itertools.count[int]) -> Any:  # noqa: ANN401 - Avro
    """Give every named type a name of its own."""
    if isinstance(kind, list):
        return [_named(one, numbers) for one in kind]
    if isinstance(kind, str):
        return kind
    made = {
        name: _named(value, numbers) if name in {"items", "values"} else value
        for name, value in kind.items()
    }
    if kind["type"] == "record":
        made["fields"] = [
            {**one, "type": _named(one["type"], numbers)} for one in kind["fields"]
        ]
    if kind["type"] in {"record", "enum", "fixed"}:
        made["name"] = f"n{next(numbers)}"
    return made


SCHEMAS = (
    st.lists(st.recursive(LEAVES, _grown, max_leaves=8), min_size=1, max_size=5)
    .map(_record)
    .map(lambda made: json.dumps(_named(made, itertools.count())))
)


def whole(parsed: dict[str, Any], place: int) -> bytes:
    """Write made-up record number `place`, framed."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, datum(parsed, place))
    return bytes(FRAME) + out.getvalue()


def broken(sound: list[bytes], draw: random.Random) -> bytes:
    """Take one of the sound records and change it here and there, or not at all."""
    body = bytearray(draw.choice(sound)[FRAME:])
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        at = draw.randint(0, len(body))
        match draw.randrange(8):
            case 0 if body:
                body[at % len(body)] ^= 1 << draw.randrange(8)
            case 1:
                body[at : at + 1] = draw.choice(EXTREMES)
            case 2:
                body[at:at] = draw.choice(EXTREMES)
            case 3:
                del body[at : at + draw.randint(1, 4)]
            case 4:
                del body[at:]
            case 5:
                other = draw.choice(sound)[FRAME:]
                body[at:] = other[draw.randint(0, len(other)) :]
            case 6:
                body[at:at] = body[at : at + draw.randint(1, 9)]
            case _:
                body += draw.randbytes(draw.randint(1, 12))
    return bytes(FRAME) + bytes(body)
