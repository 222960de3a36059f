"""What no log line and no page may show: secrets and visitor ids."""

from __future__ import annotations

import re
from typing import Final

WITHHELD: Final = "(withheld)"
_FIELD: Final = re.compile(
    r"(^|_)(visitor|visitor_id|visitors|password|secret|token|authorization|key)$"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@]+@")


def withheld_field(name: str) -> bool:
    """Whether a field of this name could name a person or open a door."""
    return _FIELD.search(name) is not None


def without_secrets(text: str) -> str:
    """Return a text without credentials."""
    return _USER_INFO.sub("", _BEARER.sub(rf"\1 {WITHHELD}", text))
