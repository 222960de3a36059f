"""`[attributes.<name>]`: one profile attribute, checked as far as text alone allows.

Expressions are checked against the schema elsewhere; here only which keys an aggregate
takes, names, and the syntax of `format`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from consumer.config.group import Group, setting
from consumer.config.values import parse_duration

Aggregate = Literal[
    "count",
    "sum",
    "min",
    "max",
    "mean",
    "first",
    "last",
    "distinct",
    "top",
    "recent",
]
RESERVED_NAMES: Final = frozenset(
    {
        "visitor",
        "version",
        "generation",
        "source_partition",
        "source_offset",
        "as_of_day",
        "active_day",
        "erased_at",
    }
)
LONGEST_NAME: Final = 128
LARGEST_N: Final = 100
LONGEST_WINDOW: Final = 3_650  # days
DAY_SECONDS: Final = 86_400
WINDOWED: Final = ("count", "sum", "min", "max", "distinct")
DEFAULT_N: Final = {"top": 1, "recent": 5}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMAT: Final = re.compile(
    r"(?P<plain>integer|date|datetime|boolean|text)"
    r"|decimal\((?P<scale>\d|1\d)\)"
    r"|list\((?P<separator>.{1,8})\)"
)
A_NAME: Final = (
    "a name of letters, digits and `_` that does not begin with a digit, "
    f"at most {LONGEST_NAME} characters"
)
A_WINDOW: Final = f'whole days such as "30d", from 1d to {LONGEST_WINDOW}d'
A_FORMAT: Final = (
    "one of decimal(n) with n from 0 to 19, integer, date, datetime, boolean, text, "
    'list(separator) such as "list(;)"'
)
AN_EXPRESSION: Final = "a row-wise SQL expression over the event's fields"


@dataclass(frozen=True, slots=True)
class AttributeFormat:
    """How Target gets a value: `scale` with decimal, `separator` with list."""

    kind: Literal["decimal", "integer", "date", "datetime", "boolean", "text", "list"]
    scale: int = 0
    separator: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a `format`; ValueError if it is not one."""
        found = _FORMAT.fullmatch(text.strip())
        if found is None:
            message = f"expected {A_FORMAT}"
            raise ValueError(message)
        if (scale := found["scale"]) is not None:
            return cls("decimal", scale=int(scale))
        if (separator := found["separator"]) is not None:
            return cls("list", separator=separator)
        return cls(found["plain"])  # type: ignore[arg-type]  # the pattern's words


def _attribute_name(name: str) -> str:
    if name in RESERVED_NAMES:
        message = (
            "the profile record keeps this name for itself; "
            f"reserved are {', '.join(sorted(RESERVED_NAMES))}"
        )
        raise ValueError(message)
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        message = f"expected {A_NAME}"
        raise ValueError(message)
    return name


def _only_for(info: ValidationInfo, key: str, *aggregates: str) -> None:
    """Refuse a key that the field's aggregate would ignore."""
    aggregate = info.data.get("aggregate")
    if aggregate is not None and aggregate not in aggregates:
        message = (
            f"`{key}` belongs to aggregate {' or '.join(aggregates)} only, "
            f'and this one is "{aggregate}"; leave it out'
        )
        raise ValueError(message)


class AttributeSettings(Group):
    """One attribute: what of each event is folded, how, and how Target gets it."""

    aggregate: Aggregate = setting(
        about="How the values of a visitor's events become one value.",
        allowed="count, sum, min, max, mean, first, last, distinct, top or recent",
    )
    of: str | None = setting(
        None,
        about="The value to aggregate; not used by count.",
        allowed=AN_EXPRESSION,
        min_length=1,
        validate_default=True,
    )
    by: str | None = setting(
        None,
        about="The weight of a value in top; each row weighs 1 without it.",
        allowed=AN_EXPRESSION + "; only for top",
        min_length=1,
    )
    where: str | None = setting(
        None,
        about="Which events (or items) count; all without it.",
        allowed="a row-wise SQL condition",
        min_length=1,
    )
    from_: Literal["event", "items"] = setting(
        "event",
        about="Whether expressions see one row per event or one per line item.",
        allowed='"event" or "items"',
        alias="from",
    )
    n: int | None = setting(
        lambda data: DEFAULT_N.get(data.get("aggregate", "")),
        about="How many values top (default 1) or recent (default 5) keeps.",
        allowed=f"a whole number from 1 to {LARGEST_N}; only for top and recent",
        ge=1,
        le=LARGEST_N,
    )
    max_keys: int = setting(
        1_000,
        about="How many different values top and distinct keep exactly; an event "
        "beyond it becomes a dead letter, since nothing is approximated in silence.",
        allowed="a whole number from 1 to 100,000; only for top and distinct",
        ge=1,
        le=100_000,
    )
    window: int | None = setting(
        None,
        about="Counts only the last days, today among them; everything without it.",
        allowed=f"{A_WINDOW}; only for {', '.join(WINDOWED)}",
    )
    time_zone: str = setting(
        "UTC",
        about="The time zone in which the days of a window begin; the same for all "
        "windows.",
        allowed='an IANA time zone such as "UTC" or "Europe/Berlin"; only with window',
    )
    render: str | None = setting(
        None,
        about="An expression over `value` that makes what Target gets.",
        allowed="a row-wise SQL expression over `value`",
        min_length=1,
    )
    format: str | None = setting(
        None,
        about="How the rendered value is written; by its type without it.",
        allowed=A_FORMAT,
    )
    sentinel: str | None = setting(
        None,
        about="What Target gets when a value disappears, since it never clears one; "
        "nothing is sent without it.",
        allowed="a text that is not empty",
        min_length=1,
    )

    @property
    def parsed_format(self) -> AttributeFormat | None:
        """`format` in parts, or None where the value's type decides."""
        return None if self.format is None else AttributeFormat.parse(self.format)

    @field_validator("of")
    @classmethod
    def _of_fits(cls, of: str | None, info: ValidationInfo) -> str | None:
        aggregate = info.data.get("aggregate")
        if of is None and aggregate not in (None, "count"):
            message = f'aggregate "{aggregate}" needs {AN_EXPRESSION}'
            raise ValueError(message)
        if of is not None and aggregate == "count":
            message = "count counts rows and ignores values; use `where` to choose them"
            raise ValueError(message)
        return of

    @field_validator("by")
    @classmethod
    def _by_fits(cls, by: str | None, info: ValidationInfo) -> str | None:
        _only_for(info, "by", "count", "mean", "top")
        return by

    @field_validator("n")
    @classmethod
    def _n_fits(cls, n: int | None, info: ValidationInfo) -> int | None:
        _only_for(info, "n", "top", "recent")
        return n

    @field_validator("max_keys")
    @classmethod
    def _max_keys_fits(cls, max_keys: int, info: ValidationInfo) -> int:
        _only_for(info, "max_keys", "top", "distinct")
        return max_keys

    @field_validator("window", mode="before")
    @classmethod
    def _whole_days(cls, window: object) -> int | None:
        if window is None:
            return None
        days, rest = divmod(parse_duration(window), DAY_SECONDS)
        if rest or not 1 <= days <= LONGEST_WINDOW:
            message = f"expected {A_WINDOW}"
            raise ValueError(message)
        return int(days)

    @field_validator("window")
    @classmethod
    def _window_fits(cls, window: int | None, info: ValidationInfo) -> int | None:
        if window is not None:
            _only_for(info, "window", *WINDOWED)
        return window

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, time_zone: str, info: ValidationInfo) -> str:
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = 'expected an IANA time zone such as "UTC" or "Europe/Berlin"'
            raise ValueError(message) from error
        if info.data.get("window") is None:
            message = "only a window has days that begin somewhere; leave it out"
            raise ValueError(message)
        return time_zone

    @field_validator("format")
    @classmethod
    def _format_parses(cls, text: str | None) -> str | None:
        if text is not None:
            AttributeFormat.parse(text)
        return text


def _one_zone(attributes: dict[str, AttributeSettings]) -> dict[str, AttributeSettings]:
    """Refuse windows whose days begin at different times: a profile has one day."""
    zones = {a.time_zone: n for n, a in attributes.items() if a.window is not None}
    if len(zones) > 1:
        named = " and ".join(f'{zone} ("{name}")' for zone, name in zones.items())
        message = f"all windows have one time_zone, and these differ: {named}"
        raise ValueError(message)
    return attributes


AttributeName = Annotated[str, AfterValidator(_attribute_name)]
Attributes = Annotated[
    dict[AttributeName, AttributeSettings],
    Field(min_length=1),
    AfterValidator(_one_zone),
]
