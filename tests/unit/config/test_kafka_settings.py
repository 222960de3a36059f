"""`[kafka]` takes librdkafka's options, refuses ours, and keeps secrets."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from consumer.config import REFUSED_OPTIONS, KafkaSettings
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def read(toml: str) -> KafkaSettings:
    """Validate the inside of a [kafka] table."""
    return KafkaSettings.model_validate(tomllib.loads(toml))


def test_values_become_what_librdkafka_reads() -> None:
    """Numbers and booleans become texts."""
    options = read("'linger.ms' = 5\n'a.b' = true\n'c.d' = 0.5\n").for_admin()
    assert options["linger.ms"] == "5"
    assert options["a.b"] == "true"
    assert options["c.d"] == "0.5"


def test_consumer_and_producer_go_over_what_is_common() -> None:
    """Each kind of client sees its own options and the common ones."""
    kafka = read("'x.y' = 1\n'z' = 1\n[consumer]\n'x.y' = 2\n[producer]\n'x.y' = 3\n")
    assert kafka.for_consumer()["x.y"] == "2"
    assert kafka.for_producer()["x.y"] == "3"
    assert kafka.for_admin()["x.y"] == "1"
    assert kafka.for_producer()["z"] == "1"


def test_unquoted_names_mean_the_same() -> None:
    """TOML makes tables of unquoted dots; they are joined again."""
    kafka = read("bootstrap.servers = 'b:1'\nsasl.password = { file = '/x' }\n")
    assert kafka.bootstrap_servers == "b:1"
    assert "sasl.password" in kafka.common


@pytest.mark.parametrize("name", REFUSED_OPTIONS)
@pytest.mark.parametrize("table", ["", "[consumer]\n", "[producer]\n"])
def test_options_that_would_break_a_promise_are_refused(name: str, table: str) -> None:
    """Each refused option is refused in every table, with its reason."""
    with pytest.raises(ValidationError) as caught:
        read(f"{table}'{name}' = 'x'\n")
    assert REFUSED_OPTIONS[name] in str(caught.value)


def test_a_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    """A rotated password is used by the next client."""
    file = tmp_path / "password"
    kafka = read(f"'sasl.password' = {{ file = '{file}' }}\n")
    for password in ("one", "two"):
        file.write_text(password + "\n", encoding="utf-8")
        assert kafka.for_consumer()["sasl.password"] == password


def test_an_unreadable_secret_names_its_key(tmp_path: Path) -> None:
    """A missing or empty secret file is a configuration error."""
    file = tmp_path / "password"
    kafka = read(f"'sasl.password' = {{ file = '{file}' }}\n")
    with pytest.raises(ConfigurationError, match=r'kafka\."sasl\.password"'):
        kafka.for_admin()
    file.touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        kafka.for_admin()


def test_secrets_do_not_show() -> None:
    """Neither a marked secret nor a password given as text is in the repr."""
    kafka = read("'sasl.password' = 'hidden'\n'ssl.key.pem' = 'hidden'\n")
    assert "hidden" not in repr(kafka)
    assert kafka.for_admin()["sasl.password"] == "hidden"


@pytest.mark.parametrize("value", ["[1]", "{ file = '' }"])
def test_other_values_are_refused(value: str) -> None:
    """A value that librdkafka cannot take is refused by its key."""
    with pytest.raises(ValidationError):
        read(f"'a.b' = {value}\n")
