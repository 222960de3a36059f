"""An attribute takes the keys that its aggregate uses, and only those."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from consumer.config import RESERVED_NAMES, AttributeFormat, AttributeSettings
from consumer.config.attributes import Attributes

VALUED = ("sum", "min", "max", "mean", "first", "last", "distinct", "top", "recent")


def made(**keys: object) -> AttributeSettings:
    """Validate one attribute."""
    return AttributeSettings.model_validate(keys)


def refused_key(**keys: object) -> str:
    """Return the key that is refused."""
    with pytest.raises(ValidationError) as caught:
        made(**keys)
    (error,) = (  # a default that could not be made follows from another problem
        e for e in caught.value.errors() if e["type"] != "default_factory_not_called"
    )
    return str(error["loc"][-1])


@pytest.mark.parametrize("aggregate", VALUED)
def test_all_but_count_need_a_value(aggregate: str) -> None:
    """`of` is needed by every aggregate that looks at a value."""
    assert made(aggregate=aggregate, of="x").of == "x"
    assert refused_key(aggregate=aggregate) == "of"


def test_count_takes_no_value() -> None:
    """A value that would be ignored is refused."""
    assert made(aggregate="count").of is None
    assert refused_key(aggregate="count", of="x") == "of"


@pytest.mark.parametrize(
    ("key", "value", "aggregates"),
    [
        ("by", "quantity", {"count", "mean", "top"}),
        ("n", 3, {"top", "recent"}),
        ("max_keys", 10, {"top", "distinct"}),
        ("window", 7 * 86_400, {"sum", "min", "max", "distinct"}),
    ],
)
def test_a_key_is_refused_where_it_has_no_effect(
    key: str, value: object, aggregates: set[str]
) -> None:
    """Each of these keys belongs to its aggregates only."""
    for aggregate in VALUED:
        keys = {"aggregate": aggregate, "of": "x", key: value}
        if aggregate in aggregates:
            kept = 7 if key == "window" else value
            assert getattr(made(**keys), key) == kept
        else:
            assert refused_key(**keys) == key


def test_n_has_a_default_by_aggregate() -> None:
    """Top keeps one, recent five, the others have no n."""
    assert made(aggregate="top", of="x").n == 1
    assert made(aggregate="recent", of="x").n == 5
    assert made(aggregate="count").n is None


@pytest.mark.parametrize("n", [0, 101])
def test_n_is_bounded(n: int) -> None:
    """A list that Target could not take is not configured."""
    assert refused_key(aggregate="recent", of="x", n=n) == "n"


@pytest.mark.parametrize(
    ("text", "days"), [("1d", 1), ("30d", 30), ("48h", 2), (86_400, 1), ("3650d", 3650)]
)
def test_a_window_is_whole_days(text: object, days: int) -> None:
    """However it is written, a window is a number of days."""
    assert made(aggregate="count", window=text).window == days


@pytest.mark.parametrize("text", ["0d", "12h", "3651d", "a month", True, "", "-1d"])
def test_other_windows_are_refused(text: object) -> None:
    """Parts of days, none and more than ten years are said at start."""
    assert refused_key(aggregate="count", window=text) == "window"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_a_time_zone_must_exist(zone: str) -> None:
    """What is not in the time zone database is refused."""
    attribute = {"aggregate": "count", "window": "1d", "time_zone": zone}
    assert refused_key(**attribute) == "time_zone"


def test_a_time_zone_without_a_window_is_refused() -> None:
    """A zone that would be ignored is refused; the default is none."""
    assert refused_key(aggregate="count", time_zone="Europe/Berlin") == "time_zone"
    assert made(aggregate="count").time_zone == "UTC"


def test_all_windows_have_one_time_zone() -> None:
    """A profile has one today; both attributes that differ are named."""
    one = {"aggregate": "count", "window": "7d", "time_zone": "Europe/Berlin"}
    other = {**one, "time_zone": "Asia/Tokyo"}
    types = TypeAdapter(Attributes)
    plain = {"aggregate": "count"}
    assert len(types.validate_python({"a": one, "b": one, "c": plain})) == 3
    with pytest.raises(ValidationError) as caught:
        types.validate_python({"a": one, "b": other})
    for word in ("Europe/Berlin", '"a"', "Asia/Tokyo", '"b"'):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("decimal(2)", AttributeFormat("decimal", scale=2)),
        ("decimal(19)", AttributeFormat("decimal", scale=19)),
        ("integer", AttributeFormat("integer")),
        ("date", AttributeFormat("date")),
        ("datetime", AttributeFormat("datetime")),
        ("boolean", AttributeFormat("boolean")),
        ("text", AttributeFormat("text")),
        ("list(;)", AttributeFormat("list", separator=";")),
        ("list())", AttributeFormat("list", separator=")")),
    ],
)
def test_formats_are_understood(text: str, parsed: AttributeFormat) -> None:
    """Every documented format has its parts."""
    assert made(aggregate="count", format=text).parsed_format == parsed


@pytest.mark.parametrize(
    "text", ["decimal", "decimal(20)", "decimal(-1)", "list()", "list", "money", ""]
)
def test_other_formats_are_refused(text: str) -> None:
    """A format that does not exist is said at start."""
    assert refused_key(aggregate="count", format=text) == "format"


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED_NAMES), "a-b", "1a", "ä", "", "a" * 129]
)
def test_names_that_the_profile_record_cannot_have_are_refused(name: str) -> None:
    """Reserved names and those that Avro has no word for are refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(Attributes).validate_python({name: {"aggregate": "count"}})


@pytest.mark.parametrize("name", ["orders", "_x", "lastStore2", "a" * 128])
def test_other_names_are_kept_as_they_are(name: str) -> None:
    """Names are case-sensitive and unchanged."""
    attributes = {name: {"aggregate": "count"}}
    assert list(TypeAdapter(Attributes).validate_python(attributes)) == [name]


def test_there_is_at_least_one_attribute() -> None:
    """A service with nothing to send does not start."""
    with pytest.raises(ValidationError):
        TypeAdapter(Attributes).validate_python({})
