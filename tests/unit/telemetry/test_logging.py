"""Logs look alike wherever they come from, and give nothing away."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from consumer.config import LogSettings
from consumer.telemetry.logging import configure_logging, get_logger
from consumer.telemetry.withholding import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_foreign_lines_have_one_form() -> None:
    """The warnings of librdkafka can be searched like our own."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    get_logger("ours").warning("A batch was retried", rows=3)
    logging.getLogger("librdkafka").warning("broker %s is away", "b:1")
    ours, foreign = lines(stream)
    assert ours.keys() - {"rows"} == foreign.keys()
    assert (ours["event"], ours["rows"]) == ("A batch was retried", 3)
    assert foreign["event"] == "broker b:1 is away"
    assert foreign["level"] == "warning"


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal there is no JSON, unless it is asked for."""
    human, machine = Terminal(), Terminal()
    configure_logging(LogSettings(), human)
    get_logger("ours").info("It started", port=9464)
    configure_logging(LogSettings(format="json"), machine)
    get_logger("ours").info("It started", port=9464)
    assert "It started" in human.getvalue()
    assert not human.getvalue().startswith("{")
    assert lines(machine)[0]["port"] == 9464


def test_the_level_is_kept_for_all() -> None:
    """What is below the level is not written, whoever logs it."""
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning"), stream)
    get_logger("ours").info("too quiet")
    logging.getLogger("theirs").info("too quiet")
    get_logger("ours").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize(
    "field", ["visitor", "visitor_id", "token", "sasl_password", "client_secret", "key"]
)
def test_secrets_and_visitors_are_withheld(field: str) -> None:
    """A field that could name a person or open a door is never written."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    get_logger("ours").error("Something", **{field: "v-4711"}, partition=1)
    logging.getLogger("theirs").error("Something", extra={field: "v-4711"})
    assert "v-4711" not in stream.getvalue()
    assert [line[field] for line in lines(stream)] == [WITHHELD, WITHHELD]
    assert lines(stream)[0]["partition"] == 1


def test_credentials_inside_a_sentence_are_withheld() -> None:
    """A library that logs its request's header does not leak the token."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    logging.getLogger("theirs").warning("sent Authorization: Bearer %s", "abc.def-1")
    get_logger("ours").warning("asked", address="https://user:pass@example.com/a")
    assert "abc.def" not in stream.getvalue()
    assert "pass@" not in stream.getvalue()
    assert lines(stream)[1]["address"] == "https://example.com/a"


def test_a_traceback_is_kept() -> None:
    """A bug can be found from its log line."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        get_logger("ours").exception("A bug")
    assert "ZeroDivisionError" in str(lines(stream)[0]["exception"])
