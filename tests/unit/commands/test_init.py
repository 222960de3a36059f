"""`init` reaches Kafka as the service does, and its draft holds no secret."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from consumer.commands.init import _settings
from consumer.commands.init_connection import connection, kafka_lines, registry_lines
from tests.unit.commands.conftest import run

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[kafka]
"bootstrap.servers" = "one:9093"
"security.protocol" = "SASL_SSL"
"sasl.password" = { file = "secrets/kafka" }
[kafka.consumer]
"fetch.min.bytes" = 7
[purchases.registry]
username = "ann"
password = "open sesame"
"""


def drafted(file: Path | None, servers: str | None) -> tuple[str, dict[str, Any]]:
    """Write the tables of a connection, and read them."""
    kafka, registry = connection(file, servers)
    settings = _settings(kafka, {"topic": "p", "registry": registry})
    text = "\n".join([*kafka_lines(settings), *registry_lines(settings)])
    return text, tomllib.loads(text)


def test_the_environment_says_how_kafka_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variables of `[kafka]` count; a secret among them is not written down."""
    monkeypatch.setenv("POS_CONSUMER__KAFKA__BOOTSTRAP_SERVERS", "two:9093")
    monkeypatch.setenv("POS_CONSUMER__KAFKA__SASL_PASSWORD", "open sesame")
    kafka, _ = connection(None, None)
    assert kafka["sasl.password"] == "open sesame"
    text, draft = drafted(None, None)
    assert draft["kafka"] == {"bootstrap.servers": "two:9093"}
    assert "sesame" not in text
    assert "POS_CONSUMER__KAFKA__SASL_PASSWORD" in text


def test_a_partial_file_says_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment goes over the file and the option over both, as ever."""
    file = tmp_path / "kafka.toml"
    file.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("POS_CONSUMER__KAFKA__SECURITY_PROTOCOL", "SSL")
    text, draft = drafted(file, "three:9093")
    assert draft["kafka"] == {
        "bootstrap.servers": "three:9093",
        "security.protocol": "SSL",
        "sasl.password": {"file": str(tmp_path / "secrets/kafka")},
        "consumer": {"fetch.min.bytes": "7"},
    }
    assert draft["purchases"]["registry"] == {"username": "ann"}
    assert "sesame" not in text
    assert "POS_CONSUMER__PURCHASES__REGISTRY__PASSWORD" in text


def test_a_file_that_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what is expected."""
    output = tmp_path / "pos-consumer.toml"
    output.touch()
    code, _, err = run(capsys, "init", "--topic", "p", "--output", output)
    assert code == 78
    assert "expected a file that is not there yet" in err


@pytest.mark.parametrize("command", ["init", "preview", "dead-letters", "explain"])
def test_a_wrong_broker_is_said_everywhere_alike(
    command: str,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sentence with the address and the remedy; nobody is told to wait on."""
    monkeypatch.setattr("consumer.commands.reaching.reach.__defaults__", (0.2,))
    monkeypatch.setattr("consumer.telemetry.logging.configure_logging", lambda _: None)
    monkeypatch.setenv("POS_CONSUMER__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    words = {
        "init": ["init", "--topic", "p", "--output", str(config) + ".new"],
        "preview": ["preview"],
        "dead-letters": ["dead-letters", "list"],
        "explain": ["explain", "ann"],
    }
    code, _, err = run(capsys, "--config", config, *words[command])
    assert code == 1
    assert "No Kafka broker at 127.0.0.1:9 answered within 0.2 s" in err
    assert 'Check kafka."bootstrap.servers"' in err
    assert "tried again" not in err
