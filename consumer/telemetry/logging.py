"""Logs: sentences with key=value fields, human on a terminal and JSON elsewhere.

structlog's and the standard library's records take one way out, so that librdkafka's
and aiohttp's warnings look like ours. What could name a person or open a door is
withheld on that way, whoever logged it.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from consumer.telemetry.repeats import RepeatFilter
from consumer.telemetry.withholding import WITHHELD, withheld_field, without_secrets

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import EventDict, Processor

    from consumer.config import LogSettings

_NOISY: Final = ("asyncio", "aiohttp.access")
REPEATS: Final = RepeatFilter()
"""The one filter of the process's one way out; the service tells it its board."""


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; the first argument of each call is a sentence, the rest fields.

    WARNING: surprising, nothing lost. ERROR: something lost or a person is needed.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr), in the configured level and format."""
    out = stream or sys.stderr
    human = settings.format == "human" or (settings.format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # tests and the demo configure it again
    )
    handler = logging.StreamHandler(out)
    REPEATS.forget()
    handler.addFilter(REPEATS)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), withhold],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_human(out) if human else _json()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _human(out: TextIO) -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(out.isatty(), exception_formatter=plain)]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    ]


def withhold(
    _logger: Any,  # noqa: ANN401 - structlog's signature of a processor
    _method: str,
    event: EventDict,
) -> EventDict:
    """Withhold secrets and visitor ids: by the field's name, and in the sentence."""
    fields: MutableMapping[str, Any] = event
    for name, value in fields.items():
        if withheld_field(name):
            fields[name] = WITHHELD
        elif isinstance(value, str):
            fields[name] = without_secrets(value)
    return event
