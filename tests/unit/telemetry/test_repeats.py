"""A line that repeats itself does not hide the others, and nothing goes uncounted."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from consumer.config import LogSettings
from consumer.telemetry.logging import REPEATS, configure_logging, get_logger
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.repeats import PASSED, SECONDS
from consumer.telemetry.status import StatusBoard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Log to a string, and leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging(LogSettings(level="debug"), out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    REPEATS.tell(None, None)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_first_few_of_a_minute_pass(stream: io.StringIO) -> None:
    """A thousand equal warnings are a few lines; another partition is another line."""
    for attempt in range(1_000):
        get_logger("a").warning("Again.", partition=1, attempt=attempt)
    get_logger("a").warning("Again.", partition=2)
    assert len(lines(stream)) == PASSED + 1


def test_debug_lines_are_whole(stream: io.StringIO) -> None:
    """Who asks for a line per batch gets a line per batch."""
    for _ in range(50):
        get_logger("a").debug("batch committed")
    assert len(lines(stream)) == 50


def test_the_next_line_tells_how_many_were_held_back(stream: io.StringIO) -> None:
    """So that nobody takes silence for peace; foreign loggers are treated alike."""
    log = logging.getLogger("foreign")  # librdkafka's own has a filter before it

    def said(at: float) -> None:
        record = log.makeRecord("foreign", 30, "", 0, "broker %s is away", ("b",), None)
        record.created = at
        log.handle(record)

    for second in range(20):
        said(second)
    said(SECONDS)
    assert len(lines(stream)) == PASSED + 1
    last = lines(stream)[-1]["event"]
    assert last == f"broker b is away ({20 - PASSED} more were held back)"


def test_warnings_are_counted_and_shown_without_secrets(stream: io.StringIO) -> None:
    """The page and the metric see every line, those held back too."""
    board, metrics = StatusBoard(), Metrics()
    REPEATS.tell(board, metrics)
    for _ in range(30):
        get_logger("a").error("Refused.", reason="token", visitor="v-1")
    logging.getLogger("theirs").warning("sent Authorization: Bearer %s", "abc.def")
    get_logger("a").info("All is well.")
    newest, before = board.troubles()
    assert (before.sentence, before.times) == ("Refused. reason=token", 30)
    assert newest.sentence == "sent Authorization: Bearer (withheld)"
    assert metrics.log_lines.labels("error")._value.get() == 30
    assert metrics.log_lines.labels("warning")._value.get() == 1
