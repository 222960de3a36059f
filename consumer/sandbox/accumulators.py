"""Plain-Python aggregates of the recount, one class each, and how they are declared.

An `Attribute` says the same as an `[attributes.…]` table of the configuration, with
Python callables in place of SQL. A row is the event, or the event overlaid with one of
its items; None means no value, and such rows are left out.
"""

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo

Value: TypeAlias = Any  # whatever the schema holds
Row = Mapping[str, Value]
EPOCH: Final = dt.date(1970, 1, 1)
Order = tuple[datetime, str, int]  # event time and id, item index: greater is later


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """One profile attribute."""

    name: str
    aggregate: str  # a key of AGGREGATES
    of: Callable[[Row], Value] = lambda _: True
    where: Callable[[Row], bool] = lambda _: True
    by: Callable[[Row], int] = lambda _: 1  # the weight, for `top`
    items: bool = False  # a row for each line item instead of one for the event
    n: int = 1  # how many, for `top` and `recent`
    show: Callable[[Value], str] = str  # what Target gets of the value
    sentinel: str | None = None  # what Target gets where there is no value
    window: int | None = None  # of how many days, today among them; all without it
    zone: str = "UTC"  # whose days


class Entry(NamedTuple):
    """One row as an aggregate takes it."""

    value: Value
    weight: int
    order: Order


class Aggregate(Protocol):
    """Takes rows in any order; has a value or None."""

    def add(self, entry: Entry) -> None:
        """Take one row."""

    def value(self) -> Value:
        """Return the value so far, None if there is none."""


class Count:
    """How many rows had a value."""

    def __init__(self, _: Attribute) -> None:
        """Start at none."""
        self._count = 0

    def add(self, entry: Entry) -> None:
        """Count it."""
        self._count += entry.value is not None

    def value(self) -> int | None:
        """Return the count, None for none."""
        return self._count or None


class Sum:
    """The sum, None before the first row."""

    def __init__(self, _: Attribute) -> None:
        """Start with nothing."""
        self._sum: Value = None

    def add(self, entry: Entry) -> None:
        """Add it."""
        self._sum = entry.value + (0 if self._sum is None else self._sum)

    def value(self) -> Value:
        """Return the sum."""
        return self._sum


class Mean:
    """The sum by the number of rows."""

    def __init__(self, _: Attribute) -> None:
        """Start with nothing."""
        self._sum: Value = 0
        self._count = 0

    def add(self, entry: Entry) -> None:
        """Add and count it."""
        self._sum += entry.value
        self._count += 1

    def value(self) -> Value:
        """Return the mean."""
        return self._sum / self._count if self._count else None


class Extreme:
    """The row that is greatest by a key, or least."""

    def __init__(self, *, least: bool, by_order: bool) -> None:
        """Compare by the row's order, or by its value."""
        self._choose = min if least else max
        self._by_order = by_order
        self._kept: tuple[Value, Value] | None = None

    def add(self, entry: Entry) -> None:
        """Keep it if it wins."""
        row = (entry.order if self._by_order else entry.value, entry.value)
        self._kept = row if self._kept is None else self._choose(self._kept, row)

    def value(self) -> Value:
        """Return the winner's value."""
        return None if self._kept is None else self._kept[1]


class Distinct:
    """How many different values."""

    def __init__(self, _: Attribute) -> None:
        """Start with nothing."""
        self._values: set[Value] = set()

    def add(self, entry: Entry) -> None:
        """Remember it."""
        self._values.add(entry.value)

    def value(self) -> int | None:
        """Return the number, None for none."""
        return len(self._values) or None


class Top:
    """The values with the greatest positive weights; of equals the smaller value."""

    def __init__(self, attribute: Attribute) -> None:
        """Start with nothing."""
        self._n = attribute.n
        self._weights: defaultdict[Value, int] = defaultdict(int)

    def add(self, entry: Entry) -> None:
        """Add its weight."""
        self._weights[entry.value] += entry.weight

    def value(self) -> list[Value] | None:
        """Return the heaviest first."""
        heavy = [(-w, value) for value, w in self._weights.items() if w > 0]
        return [value for _, value in sorted(heavy)[: self._n]] or None


class Recent:
    """The values of the latest rows; a value may occur more than once."""

    def __init__(self, attribute: Attribute) -> None:
        """Start with nothing."""
        self._n = attribute.n
        self._rows: list[tuple[Order, Value]] = []

    def add(self, entry: Entry) -> None:
        """Keep it if it is among the latest."""
        self._rows.append((entry.order, entry.value))
        self._rows.sort(key=lambda row: row[0], reverse=True)
        del self._rows[self._n :]

    def value(self) -> list[Value] | None:
        """Return the latest first."""
        return [value for _, value in self._rows] or None


AGGREGATES: Final[Mapping[str, Callable[[Attribute], Aggregate]]] = {
    "count": Count,
    "sum": Sum,
    "mean": Mean,
    "distinct": Distinct,
    "top": Top,
    "recent": Recent,
    "min": lambda _: Extreme(least=True, by_order=False),
    "max": lambda _: Extreme(least=False, by_order=False),
    "first": lambda _: Extreme(least=True, by_order=True),
    "last": lambda _: Extreme(least=False, by_order=True),
}


class Window:
    """Another aggregate, of the rows of the last days alone."""

    def __init__(self, attribute: Attribute, today: dt.date) -> None:
        """Start with nothing."""
        self._attribute = attribute
        self._zone = ZoneInfo(attribute.zone)
        self._first = today - dt.timedelta(days=(attribute.window or 1) - 1)
        self._inside = AGGREGATES[attribute.aggregate](attribute)

    def add(self, entry: Entry) -> None:
        """Take it if its date is within the window, or later."""
        if entry.order[0].astimezone(self._zone).date() >= self._first:
            self._inside.add(entry)

    def value(self) -> Value:
        """Return the value; what counts has one always, unless there is a sentinel."""
        found = self._inside.value()
        counts = self._attribute.aggregate in {"count", "sum", "distinct"}
        if found is None and counts and self._attribute.sentinel is None:
            return 0
        return found


class Profile:
    """One visitor's attributes, as of a day."""

    def __init__(self, attributes: Sequence[Attribute], today: dt.date = EPOCH) -> None:
        """Start with no events."""
        self._parts: list[tuple[Attribute, Aggregate]] = [
            (a, AGGREGATES[a.aggregate](a) if a.window is None else Window(a, today))
            for a in attributes
        ]

    def add(self, event: Row) -> None:
        """Take one event into every attribute that it concerns."""
        for attribute, aggregate in self._parts:
            rows = [event]
            if attribute.items:
                rows = [{**event, **item} for item in event["items"]]
            for index, row in enumerate(rows):
                value = attribute.of(row) if attribute.where(row) else None
                if value is not None:
                    order = (event["occurred_at"], event["event_id"], index)
                    aggregate.add(Entry(value, attribute.by(row), order))

    def render(self) -> dict[str, str]:
        """Return what Target gets; an attribute without a value is left out."""
        shown: dict[str, str] = {}
        for attribute, aggregate in self._parts:
            value = aggregate.value()
            if value is not None:
                shown[attribute.name] = attribute.show(value)
            elif attribute.sentinel is not None:
                shown[attribute.name] = attribute.sentinel
        return shown


def decimal2(minor: int) -> str:
    """Render minor units as major ones with two decimals."""
    return f"{minor / 100.0:.2f}"


def date(moment: datetime) -> str:
    """Render a moment as its ISO date, in UTC."""
    return str(moment.date().isoformat())


def _is(event_type: str) -> Callable[[Row], bool]:
    return lambda row: bool(row["event_type"] == event_type)


def _signed(row: Row) -> int:
    total: int = row["total_minor"]
    return total if row["event_type"] == "SALE" else -total


# The attributes of the demo's configuration.
DEMO_ATTRIBUTES: Final = (
    Attribute("orders", "count", where=_is("SALE")),
    Attribute("returns", "count", where=_is("RETURN")),
    Attribute("revenue", "sum", of=_signed, show=decimal2),
    Attribute(
        "last_purchase",
        "last",
        of=lambda row: row["occurred_at"],
        where=_is("SALE"),
        show=date,
    ),
    Attribute("last_store", "last", of=lambda r: r["store_id"], where=_is("SALE")),
    Attribute(
        "largest_order",
        "max",
        of=lambda row: row["total_minor"],
        where=_is("SALE"),
        show=decimal2,
    ),
    Attribute(
        "favourite_category",
        "top",
        of=lambda row: row["category"],
        by=lambda row: row["quantity"],
        items=True,
        show=",".join,
        sentinel="none",  # returns can take it away; Target never clears
    ),
    Attribute("units", "sum", of=lambda row: row["quantity"], items=True),
    Attribute(
        "latest_skus",
        "recent",
        of=lambda row: row["sku"],
        items=True,
        n=5,
        show=",".join,
    ),
    Attribute("distinct_stores", "distinct", of=lambda row: row["store_id"]),
    Attribute(
        "first_purchase",
        "first",
        of=lambda row: row["occurred_at"],
        where=_is("SALE"),
        show=date,
    ),
)
