"""Random schemas and versions of them: all are brought to the same columns."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SchemaError
from consumer.events.avro_types import branch_name
from consumer.events.codecs import Codec
from consumer.events.made_up import TEXTS
from consumer.events.resolve import ITEM, Unfit, _below, pruned, resolution
from consumer.events.views import without_views
from tests.fuzz.avro_schemas import SCHEMAS, whole
from tests.property.budget import examples

if TYPE_CHECKING:
    import pyarrow as pa

    from consumer.events.avro_types import Type
from consumer.events.resolve import Paths

OTHERS = {
    "int": ["long", "double", "float"],
    "long": ["int"],
    "float": ["double", "int"],
    "double": ["float", "long"],
    "string": ["bytes"],
    "bytes": ["string"],
}


def version(kind: Any, draw: random.Random) -> Any:  # noqa: ANN401 - Avro
    """Change a type here and there, as the next version of its schema may."""
    if isinstance(kind, list):
        changed = [version(one, draw) for one in kind if draw.random() < 0.9]
        changed = [one for one in changed if not isinstance(one, list)]
        draw.shuffle(changed)
        return changed or kind
    if draw.random() < 0.1 and kind != "null":
        return ["null", kind]
    if isinstance(kind, str):
        return draw.choice([kind, kind, *OTHERS.get(kind, [])])
    made = {
        name: version(value, draw) if name in {"items", "values"} else value
        for name, value in kind.items()
    }
    if kind["type"] == "record":
        return {**made, "fields": fields(kind["fields"], draw)}
    return made


def fields(of: list[dict[str, Any]], draw: random.Random) -> list[dict[str, Any]]:
    """Change, drop, add and reorder a record's fields."""
    kept = [one for one in of if draw.random() < 0.9]
    changed = [{**one, "type": version(one["type"], draw)} for one in kept]
    changed.append({"name": "added", "type": "string"})
    draw.shuffle(changed)
    return changed


def null_first(kind: Any) -> bool:  # noqa: ANN401 - Avro
    """Tell whether a type may have null as its default."""
    return kind == "null" or (isinstance(kind, list) and kind[0] == "null")


def defaulted(kind: Any) -> Any:  # noqa: ANN401 - Avro
    """Give each field that may be null a default."""
    if isinstance(kind, list):
        return [defaulted(one) for one in kind]
    if isinstance(kind, str):
        return kind
    made = {
        name: defaulted(value) if name in {"items", "values"} else value
        for name, value in kind.items()
    }
    if kind["type"] == "record":
        made["fields"] = [
            {**one, "type": defaulted(one["type"])}
            | ({"default": None} if null_first(one["type"]) else {})
            for one in kind["fields"]
        ]
    return made


def read(of: Type, draw: random.Random) -> list[tuple[str, ...]]:
    """Choose what is read of a type: the whole, or some of what is below it."""
    below: list[tuple[str, Type]] = []
    if len(of.branches) == 1:
        (of,) = of.branches
    if of.kind == "record":
        below = [(one.name, one.type) for one in of.fields]
    elif of.is_struct_of_branches:
        below = [(branch_name(one), one) for one in of.branches]
    elif of.kind == "map":
        below = [(key, of.parts[0]) for key in ("none", *TEXTS[1:3])]
    elif of.kind == "array":
        below = [(ITEM, of.parts[0])]
    if not below or draw.random() < 0.2:
        return [()]
    some = draw.sample(below, draw.randint(1, len(below)))
    return [(name, *path) for name, one in some for path in read(one, draw)]


def types(expected: Type, paths: Paths) -> dict[str, pa.DataType]:
    """Give the columns that are read."""
    return {
        one.name: pruned(one.type, inner)
        for one in expected.fields
        if (inner := _below(paths, one.name))
    }


@examples(200)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_all_versions_come_to_the_same_columns(schema: str, seed: int) -> None:
    """So records of several are mapped as one batch; what is not read is left out.

    And they are the same ones whichever codec read them.
    """
    draw = random.Random(seed)
    newest = defaulted(json.loads(schema))
    try:
        expected = Codec(json.dumps(newest))
    except SchemaError:
        return
    paths = frozenset(read(expected.type, draw))
    own = expected.decode(expected.sample()).columns
    found, _ = resolution(expected.type, expected.type, paths).apply(own)
    plain = without_views(found.to_struct_array()).type
    assert {one.name: one.type for one in plain} == types(expected.type, paths)
    for name, column in zip(found.schema.names, found.columns, strict=True):
        assert same(column.to_pylist(), own.column(name).to_pylist())
    for _ in range(4):
        text = json.dumps({**newest, "fields": fields(newest["fields"], draw)})
        try:
            written = Codec(text)
            step = resolution(expected.type, written.type, paths)
        except (SchemaError, Unfit):
            continue
        records = [whole(written.avro, place) for place in range(8)]
        other, _ = step.apply(written.decode(records).columns)
        other.validate(full=True)
        assert without_views(other.to_struct_array()).type == plain
        assert pl.DataFrame(other).schema == pl.DataFrame(found).schema
        written.fast = False
        safely, _ = step.apply(written.decode(records).columns)
        assert pl.DataFrame(safely).equals(pl.DataFrame(other))


def same(some: Any, whole: Any) -> bool:  # noqa: ANN401 - values of any type
    """Tell whether values are the same but for fields that were left out."""
    if isinstance(whole, list) and not isinstance(some, list):
        # A map: a record of its values at some keys is read of it.
        held = dict(whole)
        return all(same(one, held.get(key)) for key, one in some.items())
    if isinstance(some, dict):
        return all(same(one, whole[name]) for name, one in some.items())
    if isinstance(some, list):
        return len(some) == len(whole) and all(map(same, some, whole))
    return bool(some == whole)
