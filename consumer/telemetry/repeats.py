"""Keeps repeated log lines from drowning the others, and counts them all.

A line is the same again if logger, level, sentence and the bounded fields are. Of each,
the first few a minute pass; the next one that passes says how many were held back.
Debug lines are whole or off, and are not counted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from consumer.telemetry.withholding import without_secrets

if TYPE_CHECKING:
    from consumer.telemetry.metrics import Metrics
    from consumer.telemetry.status import StatusBoard

PASSED: Final = 5
SECONDS: Final = 60.0
_TELLING: Final = ("partition", "reason", "outcome", "kind", "what", "doing")
_MOST_REMEMBERED: Final = 1_000
_MOST_SHOWN: Final = 300  # characters of a line on the status page


class RepeatFilter(logging.Filter):
    """A filter for the handler, so that it sees structlog's lines and all others'."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, ...], tuple[float, int]] = {}
        self._board: StatusBoard | None = None
        self._metrics: Metrics | None = None

    def forget(self) -> None:
        """Start anew: no line has been seen."""
        self._seen.clear()

    def tell(self, board: StatusBoard | None, metrics: Metrics | None) -> None:
        """Count and show warnings and errors there from now on; None ends it."""
        self._board, self._metrics = board, metrics

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line passes."""
        if record.levelno >= logging.WARNING:
            self._show(record)
        if record.levelno < logging.INFO:
            return True
        key = _key(record)
        began, count = self._seen.get(key, (record.created, 0))
        if record.created - began >= SECONDS:
            held, began, count = max(0, count - PASSED), record.created, 0
            if held:
                _add(record, held)
        if len(self._seen) >= _MOST_REMEMBERED and key not in self._seen:
            self._seen.clear()
        self._seen[key] = (began, count + 1)
        return count < PASSED

    def _show(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        if self._metrics is not None:
            self._metrics.log_lines.labels(level).inc()
        if self._board is not None:
            sentence = without_secrets(_sentence(record))
            self._board.trouble(level, sentence[:_MOST_SHOWN])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return record.msg if isinstance(record.msg, dict) else {}


def _key(record: logging.LogRecord) -> tuple[str, ...]:
    fields = _fields(record)
    said = fields.get("event", record.msg)
    telling = (str(fields[name]) for name in _TELLING if name in fields)
    return (record.name, record.levelname, str(said), *telling)


def _sentence(record: logging.LogRecord) -> str:
    fields = _fields(record)
    if not fields:
        return record.getMessage()
    told = [f"{name}={fields[name]}" for name in _TELLING if name in fields]
    return " ".join([str(fields.get("event", "")), *told])


def _add(record: logging.LogRecord, held: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "held_back": held}
    else:
        record.msg = f"{record.msg} ({held} more were held back)"
