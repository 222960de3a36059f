"""What a topic's records look like: how they are framed, and where things may be.

Enters: some records, and the type of what is in them. Leaves: guesses, for a person to
read and correct. Nothing is decided by them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consumer.events.avro_types import branch_name
from consumer.events.framing import FRAME, GUID_BYTES, GUID_MAGIC, HEADER, MAGIC
from consumer.plan.fields import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.events.avro_types import Type
    from consumer.frames import Records

DEEPEST: Final = 4
EVENT_IDS: Final = (
    r"^(event|message)_?(id|uuid)$",
    r"^(transaction|receipt|order|purchase|sale)_?(id|uuid|no|number)$",
    r"^(id|uuid|guid)$",
)
VISITORS: Final = (
    r"(^|_)visitor_?(id|key|uuid)$",
    r"(^|_)(loyalty|member|membership)_?(id|no|number|card)$",
    r"(^|_)(customer|shopper|user|client|crm|card)_?(id|no|number|key|uuid)$",
    r"(^|_)(customer|shopper|user|client|crm)_",
)
TIMES: Final = (
    r"(occurred|happened|event_?time|purchased|sold|closed)",
    r"(timestamp|time|_at|_ts|date)$",
    r"",
)
MONEY: Final = r"(total|amount|revenue|gross|net|sum|value)"
KINDS: Final = r"(^|_)(event_type|kind|type)$"
GROUPS: Final = r"(category|department|group|brand)"
ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")
FIRST_SECOND, FIRST_MILLI, FIRST_MICRO = 10**8, 10**11, 10**14  # from 1973 on


@dataclass(frozen=True, slots=True)
class Framed:
    """How most records say their schema: `how` is a word, `schema_id` an example."""

    how: str
    schema_id: int | None = None


def framed(records: Records) -> Framed | None:
    """Look at the records that have a value; None where there are none."""
    found: Counter[tuple[str, int | None]] = Counter()
    for row, value in enumerate(records.values):
        if value:
            found[_framing(value, records.headers(row))] += 1
    if not found:
        return None
    ((how, schema_id), _), *_ = found.most_common(1)
    return Framed(how, schema_id)


def _framing(
    value: bytes, headers: Sequence[tuple[str, bytes | None]]
) -> tuple[str, int | None]:
    for name, text in headers:
        if name == HEADER and text:
            guid = text[0] == GUID_MAGIC and len(text) >= GUID_BYTES
            known = None if guid else int.from_bytes(text[1:FRAME], "big")
            return "header", known
    text = value[FRAME:] if value[0] == MAGIC else value
    if text[:1] == b"{":
        try:
            json.loads(text)
        except ValueError:
            pass
        else:
            return "json", None
    if value[0] == MAGIC and len(value) > FRAME:
        return "prefix", int.from_bytes(value[1:FRAME], "big")
    return "bare", None


def leaves(of: Type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Type]]:
    """Give the fields that expressions can name, with their types; no items."""
    for one in of.fields:
        here = (*path, one.name)
        inner = one.type
        if len(inner.branches) == 1:
            inner = inner.branches[0]
        if one.type.is_struct_of_branches and len(path) < DEEPEST:
            for branch in one.type.branches:
                name = (*here, branch_name(branch))
                yield from (
                    leaves(branch, name)
                    if branch.fields
                    else [(".".join(name), branch)]
                )
        elif inner.kind == "record" and len(path) < DEEPEST:
            yield from leaves(inner, here)
        else:
            yield ".".join(here), inner


def item_type(of: Type) -> Type:
    """Give the type of a list's items."""
    (part,) = of.parts
    return part if part.is_struct_of_branches else part.branches[0]


@dataclass(frozen=True, slots=True)
class Guesses:
    """Expressions for what the configuration needs; empty where nothing looks like it.

    `unit` is that of a time in numbers; `keyed` says that the visitor was not found by
    name, but by values that the records' keys are.
    """

    event_id: str = ""
    visitor_id: str = ""
    event_time: str = ""
    unit: str = ""
    items: str = ""
    kind: str = ""
    money: str = ""
    group: str = ""
    keyed: bool = False


def guesses(
    of: Type, sample: Sequence[dict[str, Any]], keys: Sequence[bytes | None] = ()
) -> Guesses:
    """Guess by names and types; `sample` are some decoded events, of these `keys`."""
    named = dict(leaves(of))
    texts = [n for n, t in named.items() if t.kind in TEXTS or t.kind in NUMBERS]
    items = next((n for n, t in named.items() if _is_items(t)), "")
    time, unit = _time(named, sample)
    event_id = _first(EVENT_IDS, texts)
    others = [name for name in texts if name != event_id]
    visitor = _first(VISITORS, others)
    of_keys = "" if visitor else _of_keys(others, sample, keys)
    groups: list[str] = []
    if items:
        below = item_type(named[items])
        if not below.is_struct_of_branches:
            groups = [n for n, t in leaves(below) if t.kind in TEXTS]
    exact = [n for n, t in named.items() if t.logical == "decimal"]
    whole = [n for n, t in named.items() if t.kind in NUMBERS and not t.logical]
    floats = _first((MONEY,), [n for n, t in named.items() if t.kind == "double"])
    rounded = f"CAST({written(floats)} AS DECIMAL(18, 2))" if floats else ""
    return Guesses(
        event_id=event_id,
        visitor_id=visitor or of_keys,
        event_time=time,
        unit=unit,
        items=items,
        kind=_first((KINDS,), [n for n, t in named.items() if t.kind in TEXTS]),
        money=_first((MONEY,), [*exact, *whole]) or rounded,
        group=_first((GROUPS, ""), groups),
        keyed=bool(of_keys),
    )


TEXTS: Final = frozenset({"string", "enum"})
NUMBERS: Final = frozenset({"int", "long"})


def _is_items(of: Type) -> bool:
    return of.kind == "array" and bool(
        of.parts[0].is_struct_of_branches or of.parts[0].branches[0].fields
    )


def _first(patterns: Sequence[str], names: Sequence[str]) -> str:
    """Give the first name that the earliest pattern finds."""
    for pattern in patterns:
        for name in names:
            if re.search(pattern, _snake(name)):
                return name
    return ""


def _of_keys(
    names: Sequence[str],
    sample: Sequence[dict[str, Any]],
    keys: Sequence[bytes | None],
) -> str:
    """Give the first field most of whose values are keys of records."""
    known = {key.decode("utf-8", "replace") for key in keys if key}
    for name in names:
        found = {str(value) for value in values(sample, name)}
        if len(found & known) * 2 > len(found):
            return name
    return ""


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return words.replace(".", "_").lower()


def _time(named: dict[str, Type], sample: Sequence[dict[str, Any]]) -> tuple[str, str]:
    stamps = [n for n, t in named.items() if "timestamp" in t.logical]
    dates = [n for n, t in named.items() if t.logical == "date"]
    if found := _first(TIMES, stamps) or _first(TIMES, dates):
        return found, ""
    texts = [n for n, t in named.items() if t.kind == "string"]
    iso = [n for n in texts if _all(sample, n, lambda one: bool(ISO.fullmatch(one)))]
    if found := _first(TIMES, iso):
        return found, ""
    numbers = [n for n, t in named.items() if t.kind == "long" and not t.logical]
    for name in numbers:
        if re.search(TIMES[1], _snake(name)):
            for unit, least in (
                ("us", FIRST_MICRO),
                ("ms", FIRST_MILLI),
                ("s", FIRST_SECOND),
            ):
                if _all(sample, name, lambda one, least=least: one >= least):
                    return name, unit
    return "", ""


def values(sample: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """Give the values of a field by its path, without nulls."""
    found = []
    for event in sample:
        value: Any = event
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found.append(value)
    return found


def _all(sample: Sequence[dict[str, Any]], name: str, fits: Any) -> bool:  # noqa: ANN401 - a test
    found = values(sample, name)
    return bool(found) and all(map(fits, found))


def inferred(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give columns for JSON objects: of each name the type that all its values have."""
    names = dict.fromkeys(name for one in objects for name in one)
    columns = {}
    for name in names:
        found = [one[name] for one in objects if one.get(name) is not None]
        if (column := _column(found)) is not None:
            columns[name] = column
    return columns


def _column(found: Sequence[Any]) -> Any:  # noqa: ANN401, PLR0911 - one return a type
    kinds = {type(one) for one in found}
    if kinds == {dict}:
        return inferred(found) or None
    if kinds == {list}:
        inner = _column([one for each in found for one in each if one is not None])
        return None if inner is None else [inner]
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "long"
    if kinds and kinds <= {int, float}:
        return "double"
    if kinds == {str}:
        whole = all(ISO.fullmatch(one) for one in found)
        dates = whole and all(len(one) == len("2026-01-31") for one in found)
        return ("date" if dates else "timestamp") if whole else "string"
    return None
