"""What profiles must be, in plain Python: dictionaries and sorts, no columns.

`expected` gives the state that a profile must hold for each visitor and attribute,
`shown` the text that Target must get. It shares no code with the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Event = dict[str, Any]
Item = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1)
STREAM_DAY = date(1970, 1, 1)
SPARE_DAYS = 2


def micros(moment: datetime) -> int:
    """Count microseconds since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def text_of(value: Any) -> str:  # noqa: ANN401 - values of every type
    """Write a stored integer or text as it is."""
    return str(value)


def _weighs_one(_event: Event, _item: Item) -> int | None:
    return 1


@dataclass(frozen=True)
class Model:
    """One attribute: its configuration, and the same in Python.

    `value` gives the stored value of an event (and item), None where it takes no
    part; `text` writes it.
    """

    settings: Mapping[str, Any]
    value: Callable[[Event, Item], Any]
    text: Callable[[Any], str] = text_of
    weight: Callable[[Event, Item], int | None] = _weighs_one

    @property
    def aggregate(self) -> str:
        """The aggregate's name."""
        return str(self.settings["aggregate"])

    def rows(self, events: Iterable[Event]) -> list[tuple[Any, int, Any]]:
        """Give value, weight and place of everything that takes part."""
        found = []
        for event in events:
            of_items = self.settings.get("from") == "items"
            items = event["items"] if of_items else [{}]
            for index, item in enumerate(items):
                value = self.value(event, item)
                weight = self.weight(event, item)
                if value is not None and weight is not None:
                    place = micros(event["occurred_at"]), event["event_id"], index
                    found.append((value, weight, place))
        return found

    @property
    def window(self) -> int | None:
        """The days of the window, if there is one."""
        text = self.settings.get("window")
        return None if text is None else int(str(text).removesuffix("d"))

    def state(self, events: Iterable[Event]) -> Any:  # noqa: ANN401 - a state
        """Compute the state that a profile holds, with the stream at 1970-01-01."""
        rows = self.rows(events)
        if self.window is None:
            return self._state(rows)
        zone = ZoneInfo(self.settings["time_zone"])
        by_day: dict[int, list[Any]] = {}
        for row in rows:
            moment = EPOCH + timedelta(microseconds=row[2][0])
            on = (moment.astimezone(zone).date() - STREAM_DAY).days
            if on > -self.window - SPARE_DAYS:
                by_day.setdefault(on, []).append(row)
        if self.aggregate == "distinct":
            last = {v: on for on in sorted(by_day) for v, _, _ in by_day[on]}
            return [{"key": key, "day": on} for key, on in sorted(last.items())]
        return [{"day": on, "value": self._state(by_day[on])} for on in sorted(by_day)]

    def _within(self, state: Any, today: int) -> Any:  # noqa: ANN401 - a state
        """Give the state of the days of the window alone."""
        first = today - (self.window or 0) + 1
        days = [one for one in state if one["day"] >= first]
        values = [one.get("value") for one in days]
        match self.aggregate:
            case "distinct":
                return [one["key"] for one in days]
            case "min":
                return min(values, default=None)
            case "max":
                return max(values, default=None)
            case _:
                return {n: sum(v[n] for v in values) for n in ("total", "weight")}

    def _state(self, rows: list[Any]) -> Any:  # noqa: ANN401, PLR0911 - one return an aggregate
        match self.aggregate:
            case "count" | "sum" | "mean":
                return {"total": sum(v for v, _, _ in rows), "weight": len(rows)}
            case "min":
                return min((v for v, _, _ in rows), default=None)
            case "max":
                return max((v for v, _, _ in rows), default=None)
            case "first" | "last":
                if not rows:
                    return {"value": None, "time": 0, "event": "", "item": 0}
                pick = min if self.aggregate == "first" else max
                return entry(*pick(rows, key=lambda row: row[2]))
            case "distinct":
                return sorted({v for v, _, _ in rows})
            case "top":
                weights: dict[Any, int] = {}
                for value, weight, _ in rows:
                    weights[value] = weights.get(value, 0) + weight
                return [
                    {"key": k, "weight": w} for k, w in sorted(weights.items()) if w
                ]
            case _:
                newest = sorted(rows, key=lambda row: row[2], reverse=True)
                return [entry(*row) for row in newest[: self.settings["n"]]]

    def shown(self, state: Any, today: int = 0) -> str | None:  # noqa: ANN401 - a state
        """Write what Target gets for a state."""
        if self.window is None:
            return self._shown(state)
        found = self._shown(self._within(state, today))
        empty = self.aggregate not in {"min", "max"}
        return self.text(0) if found is None and empty else found

    def _shown(self, state: Any) -> str | None:  # noqa: ANN401, PLR0911 - one return an aggregate
        match self.aggregate:
            case "count" | "sum":
                return None if not any(state.values()) else self.text(state["total"])
            case "mean":
                return self.text(state) if state["weight"] else None
            case "min" | "max":
                return None if state is None else self.text(state)
            case "first" | "last":
                return None if state["value"] is None else self.text(state["value"])
            case "distinct":
                return self.text(len(state)) if state else None
            case "top":
                ranked = sorted(state, key=lambda one: (-one["weight"], one["key"]))
                keys = [self.text(one["key"]) for one in ranked if one["weight"] > 0]
                return ",".join(keys[: self.settings["n"]]) if keys else None
            case _:
                values = [self.text(one["value"]) for one in state]
                return ",".join(values) if state else None


def entry(value: Any, _weight: int, place: tuple[int, str, int]) -> dict[str, Any]:  # noqa: ANN401 - values of every type
    """Give a value with its place, as a profile holds it."""
    time, event, item = place
    return {"value": value, "time": time, "event": event, "item": item}


def sale(event: Event) -> bool:
    """Tell whether goods left the shop."""
    return bool(event["kind"] == "SALE")


def when(condition: bool | None, value: Any) -> Any:  # noqa: ANN401, FBT001 - as in SQL
    """Give the value if it takes part: unknown is not true."""
    return value if condition else None


def product(*factors: int | None) -> int | None:
    """Multiply; nothing times anything is nothing."""
    total = 1
    for factor in factors:
        if factor is None:
            return None
        total *= factor
    return total


def fixed(scale: int, digits: int) -> Callable[[int], str]:
    """Write scaled integers with digits after the point, halves away from zero."""

    def write(value: int) -> str:
        unit = Decimal(1).scaleb(-digits)
        exact = Decimal(value).scaleb(-scale)
        # Adding nothing makes a rounded -0.0 plain.
        return format(exact.quantize(unit, ROUND_HALF_UP) + 0, "f")

    return write


def mean(scale: int) -> Callable[[dict[str, int]], str]:
    """Write a mean with four more digits than its operands, halves to even."""

    def write(state: dict[str, int]) -> str:
        exact = Decimal(state["total"]).scaleb(4) / state["weight"]
        rounded = int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
        return fixed(scale + 4, scale + 4)(rounded)

    return write


def plain(value: float) -> str:
    """Write a float without an exponent or needless digits."""
    written = format(Decimal(value), "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


def moment(value: int) -> str:
    """Write microseconds since the epoch as UTC."""
    return (EPOCH + timedelta(microseconds=value)).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(value: int) -> str:
    """Write days since the epoch."""
    return (EPOCH_DAY + timedelta(days=value)).isoformat()


def truth(value: int) -> str:
    """Write a stored boolean."""
    return "true" if value else "false"


def day_number(event: Event) -> int | None:
    """Give an event's day as a profile keeps it."""
    return None if event["day"] is None else (event["day"] - EPOCH_DAY).days


def cents(event: Event) -> int | None:
    """Give an event's price as a profile keeps it."""
    return None if event["price"] is None else int(event["price"].scaleb(2))


ITEMS = {"from": "items"}
# Half past midnight in Vienna is another day than in UTC.
DAYS = {"window": "2d", "time_zone": "Europe/Vienna"}
MODELS: dict[str, Model] = {
    "orders": Model(
        {"aggregate": "count", "where": "kind = 'SALE'"},
        lambda e, _: when(sale(e), 1),
    ),
    "events": Model({"aggregate": "count"}, lambda _e, _i: 1),
    "lines": Model({"aggregate": "count", **ITEMS}, lambda _e, _i: 1),
    "net": Model(
        {
            "aggregate": "sum",
            "of": "CASE WHEN kind = 'SALE' THEN amount ELSE -amount END",
            "render": "value / 100.0",
            "format": "decimal(2)",
        },
        lambda e, _: product(e["amount"], 1 if sale(e) else -1),
        fixed(2, 2),
    ),
    "units": Model(
        {"aggregate": "sum", "of": "quantity", **ITEMS}, lambda _e, i: i["quantity"]
    ),
    "line_value": Model(
        {"aggregate": "sum", "of": "quantity * unit_price", **ITEMS},
        lambda _, i: product(i["quantity"], i["unit_price"]),
    ),
    "flagged_sum": Model(
        {"aggregate": "sum", "of": "amount", "where": "flag AND ratio > 0.5"},
        lambda e, _: when(
            e["flag"] and e["ratio"] is not None and (not e["ratio"] <= 0.5),
            e["amount"],
        ),
    ),
    "mean_amount": Model(
        {"aggregate": "mean", "of": "amount"}, lambda e, _: e["amount"], mean(0)
    ),
    "mean_price": Model(
        {"aggregate": "mean", "of": "price"}, lambda e, _: cents(e), mean(2)
    ),
    "price_sum": Model(
        {"aggregate": "sum", "of": "price"}, lambda e, _: cents(e), fixed(2, 2)
    ),
    "least_price": Model(
        {"aggregate": "min", "of": "price"}, lambda e, _: cents(e), fixed(2, 2)
    ),
    "top_price": Model(
        {"aggregate": "top", "of": "price", "n": 1, "format": "decimal(1)"},
        lambda e, _: cents(e),
        fixed(2, 1),
    ),
    "least_ratio": Model(
        {"aggregate": "min", "of": "ratio"},
        lambda e, _: number(e["ratio"]),
        plain,
    ),
    "last_ratio": Model(
        {"aggregate": "last", "of": "ratio"},
        lambda e, _: number(e["ratio"]),
        plain,
    ),
    "greatest_amount": Model(
        {"aggregate": "max", "of": "amount"}, lambda e, _: e["amount"]
    ),
    "least_store": Model({"aggregate": "min", "of": "store"}, lambda e, _: e["store"]),
    "greatest_note": Model({"aggregate": "max", "of": "note"}, lambda e, _: e["note"]),
    "first_store": Model(
        {"aggregate": "first", "of": "store"}, lambda e, _: e["store"]
    ),
    "last_note": Model({"aggregate": "last", "of": "note"}, lambda e, _: e["note"]),
    "last_at": Model(
        {"aggregate": "last", "of": "occurred_at", "where": "kind = 'SALE'"},
        lambda e, _: when(sale(e), micros(e["occurred_at"])),
        moment,
    ),
    "first_day": Model(
        {"aggregate": "first", "of": "day"}, lambda e, _: day_number(e), day
    ),
    "greatest_day": Model(
        {"aggregate": "max", "of": "day"}, lambda e, _: day_number(e), day
    ),
    "last_flag": Model(
        {"aggregate": "last", "of": "flag"},
        lambda e, _: None if e["flag"] is None else int(e["flag"]),
        truth,
    ),
    "last_sku": Model(
        {"aggregate": "last", "of": "sku", **ITEMS}, lambda _, i: i["sku"]
    ),
    "first_bought": Model(
        {"aggregate": "first", "of": "sku", "where": "quantity > 0", **ITEMS},
        lambda _, i: when(i["quantity"] is not None and i["quantity"] > 0, i["sku"]),
    ),
    "days_orders": Model(
        {"aggregate": "count", "where": "kind = 'SALE'", **DAYS},
        lambda e, _: when(sale(e), 1),
    ),
    "days_units": Model(
        {"aggregate": "sum", "of": "quantity", **ITEMS, **DAYS},
        lambda _e, i: i["quantity"],
    ),
    "days_least": Model(
        {"aggregate": "min", "of": "ratio", **DAYS},
        lambda e, _: number(e["ratio"]),
        plain,
    ),
    "days_greatest": Model(
        {"aggregate": "max", "of": "store", **DAYS}, lambda e, _: e["store"]
    ),
    "days_skus": Model(
        {"aggregate": "distinct", "of": "sku", **ITEMS, **DAYS}, lambda _, i: i["sku"]
    ),
    "stores": Model({"aggregate": "distinct", "of": "store"}, lambda e, _: e["store"]),
    "days": Model({"aggregate": "distinct", "of": "day"}, lambda e, _: day_number(e)),
    "skus": Model(
        {"aggregate": "distinct", "of": "sku", **ITEMS}, lambda _, i: i["sku"]
    ),
    "categories": Model(
        {"aggregate": "top", "of": "note", "by": "quantity", "n": 2, **ITEMS},
        lambda _, i: i["note"],
        weight=lambda _, i: i["quantity"],
    ),
    "top_store": Model(
        {"aggregate": "top", "of": "store", "n": 1}, lambda e, _: e["store"]
    ),
    "top_flag": Model(
        {"aggregate": "top", "of": "flag", "by": "amount", "n": 2},
        lambda e, _: None if e["flag"] is None else int(e["flag"]),
        truth,
        weight=lambda e, _: e["amount"],
    ),
    "recent_skus": Model(
        {"aggregate": "recent", "of": "sku", "n": 3, **ITEMS}, lambda _, i: i["sku"]
    ),
    "recent_amounts": Model(
        {"aggregate": "recent", "of": "amount", "n": 2}, lambda e, _: e["amount"]
    ),
    "recent_outer": Model(
        {
            "aggregate": "recent",
            "of": "event.note || ':' || store",
            "where": "event.kind = 'SALE'",
            "n": 4,
            **ITEMS,
        },
        lambda e, _: when(
            sale(e) and e["note"] is not None, f"{e['note']}:{e['store']}"
        ),
    ),
}


def number(value: float | None) -> float | None:
    """Give a float as profiles keep it: one zero, and NaN is nothing."""
    return None if value is None or value != value else value + 0.0  # noqa: PLR0124 - NaN


def expected(
    models: Mapping[str, Model], events: Iterable[Event]
) -> dict[str, dict[str, Any]]:
    """Give each visitor's states; of equal event ids the first counts."""
    distinct: dict[str, Event] = {}
    for event in events:
        distinct.setdefault(event["event_id"], event)
    visitors = {event["visitor_id"] for event in distinct.values()}
    return {
        visitor: {
            name: model.state(
                event for event in distinct.values() if event["visitor_id"] == visitor
            )
            for name, model in models.items()
        }
        for visitor in visitors
    }
