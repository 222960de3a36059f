"""An attribute's state in words, for people who ask why a value is what it is.

Enters: an attribute's plan and its state as a profile record decodes to. Leaves: one
line. What Target gets of it is rendered elsewhere; this is what it is rendered from.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.plan.values import ValueType

MOST_SHOWN: Final = 10
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Final = "nothing yet"


def in_words(  # noqa: PLR0911 - one return a shape
    plan: AttributePlan,
    state: Any,  # noqa: ANN401 - decoded Avro
) -> str:
    """Say what a profile holds of an attribute; None is an attribute added later."""
    match state:
        case None | [] | {"value": None} | {"total": 0, "weight": 0}:
            return NOTHING
        case {"total": total, "weight": weight}:
            return _added_up(plan, total, weight)
        case {"value": value, "time": time, "event": event}:
            return f"{shown(plan.kept, value)}, {_origin(time, event)}"
        case [{}, *_]:
            return _entries(plan, state)
        case [*values]:
            words = _listed([shown(plan.kept, value) for value in values])
            return f"{len(values)} different: {words}"
        case dict():
            return _as_json(state)
        case _:
            return shown(plan.kept, state)


def _entries(plan: AttributePlan, entries: list[dict[str, Any]]) -> str:
    """Say what the entries of a list are: keys by weight, newest values, or days."""
    kept = plan.kept
    match entries[0]:
        case {"key": _, "weight": _}:
            ordered = sorted(entries, key=lambda one: -one["weight"])
            words = [f"{shown(kept, one['key'])} {one['weight']}" for one in ordered]
        case {"value": _, "time": _, "event": _}:
            words = [
                f"{', '.join(shown(kept, one['value']) for one in group)} {origin}"
                for origin, group in groupby(entries, _of)
            ]
        case {"day": _, "value": _}:
            newest = entries[::-1]
            words = [f"{day(o['day'])}: {in_words(plan, o['value'])}" for o in newest]
        case {"key": _, "day": _}:
            newest = sorted(entries, key=lambda one: -one["day"])
            words = [f"{shown(kept, o['key'])} (last {day(o['day'])})" for o in newest]
        case _:
            words = [_as_json(one) for one in entries]
    return _listed(words)


def _as_json(state: Any) -> str:  # noqa: ANN401 - decoded Avro
    return json.dumps(state, ensure_ascii=False, default=str)


def shown(kept: ValueType, value: Any) -> str:  # noqa: ANN401 - a value in storage form
    """Write a value as what it stands for, not as it is stored."""
    if value is None:
        return "null"
    match kept.logical:
        case "decimal":
            return str(Decimal(value).scaleb(-kept.scale))
        case "date":
            return day(value)
        case "datetime":
            return moment(value)
        case "boolean":
            return "true" if value else "false"
        case _:
            return str(value)


def moment(microseconds: int) -> str:
    """Write an event's time; one that is no date, as its number."""
    try:
        found = EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return str(microseconds)
    return found.strftime("%Y-%m-%d %H:%M:%S") + "Z"


def _added_up(plan: AttributePlan, total: int, weight: int) -> str:
    if plan.aggregate == "count":
        return f"{total:,} counted"
    words = f"{shown(plan.kept, total)} from {weight:,} values"
    return words if plan.aggregate == "sum" else f"{words} in all"


def _of(entry: dict[str, Any]) -> str:
    return f"({_origin(entry['time'], entry['event'])})"


def _origin(time: int, event: str) -> str:
    return f"of event {event} at {moment(time)}"


def day(days: int) -> str:
    """Write a number of days since the epoch as a date."""
    return (EPOCH + timedelta(days=days)).date().isoformat()


def _listed(words: list[str]) -> str:
    more = len(words) - MOST_SHOWN
    text = ", ".join(words[:MOST_SHOWN])
    return f"{text} and {more:,} more" if more > 0 else text
