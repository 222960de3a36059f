"""Durations and sizes are written as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.config.values import Secret, is_sensitive, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1s", 1),
        ("1.5 h", 5_400),
        ("30m", 1_800),
        ("30d", 2_592_000),
        ("0s", 0),
        ("7", 7),
        (2.5, 2.5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    """Each unit means what it says; bare numbers are seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("49MB", 49_000_000), ("1GB", 10**9), ("1KiB", 1_024), ("2 kB", 2_000), (5, 5)],
)
def test_sizes(text: object, size: int) -> None:
    """MB is a million bytes, as Adobe's limits are read."""
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "s", "-1s", "1 year", "1ss", True, None, [], -1])
def test_what_is_neither_is_refused(value: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(value)
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(value)


@given(st.integers(0, 10**6))
def test_units_agree_with_each_other(number: int) -> None:
    """A number of hours is sixty times as many minutes."""
    assert parse_duration(f"{number}h") == parse_duration(f"{number * 60}m")
    assert parse_size(f"{number}GB") == parse_size(f"{number * 1000}MB")


def test_a_secret_shows_where_it_is_from_and_never_what_it_is() -> None:
    """Logging settings gives nothing away."""
    assert "abc" not in repr(Secret(text="abc"))
    assert "abc" not in str(Secret(text="abc"))
    assert Secret(text="abc").read() == "abc"


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.pem", "token", "a.secret"])
def test_secret_keys_are_known_by_their_names(name: str) -> None:
    """Options that hold secrets are masked although given as text."""
    assert is_sensitive(name)
    assert not is_sensitive(f"{name}.timeout.ms")
