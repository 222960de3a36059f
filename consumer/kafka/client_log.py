"""librdkafka's own log lines, made bearable: no flood, and the right level.

A broker that is away makes librdkafka repeat one line many times a second, as an
error, while it mends the connection by itself.
"""

from __future__ import annotations

import logging
import re
from typing import Final

LIBRDKAFKA_LOGGER: Final = "librdkafka"
QUIET_SECONDS: Final = 30.0
_MOST_REMEMBERED: Final = 200
_NUMBERS: Final = re.compile(r"\d+")


class ClientLogFilter(logging.Filter):
    """Passes a line once in 30 s, numbers aside, and errors as warnings.

    librdkafka's ERROR is about a connection, which it makes again; what a person must
    mend comes back from the calls themselves as an error of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record, its level lowered where needed."""
        line = _NUMBERS.sub("#", record.getMessage())
        last = self._passed.get(line)
        if last is not None and record.created - last < QUIET_SECONDS:
            return False
        if len(self._passed) >= _MOST_REMEMBERED:
            self._passed.clear()
        self._passed[line] = record.created
        if record.levelno == logging.ERROR:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_FILTER: Final = ClientLogFilter()


def client_logger() -> logging.Logger:
    """Return the logger to hand to every client."""
    log = logging.getLogger(LIBRDKAFKA_LOGGER)
    log.addFilter(_FILTER)  # adding it again changes nothing
    return log
