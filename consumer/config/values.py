"""Values as people write them: durations, sizes and secrets, to numbers and text."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator

from consumer.errors import ConfigurationError

DURATION_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
SIZE_UNITS: Final = {
    "B": 1,
    "kB": 1_000,
    "KB": 1_000,
    "MB": 1_000_000,  # as Adobe's limits are read on the safe side
    "GB": 1_000_000_000,
    "KiB": 1_024,
    "MiB": 1_048_576,
    "GiB": 1_073_741_824,
}
_NUMBER_AND_UNIT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_SENSITIVE_NAME: Final = re.compile(
    r"(password|secret|token|pem|ssl_key|oauthbearer\.config)$"
)

A_DURATION: Final = 'a duration such as "500ms", "1s", "30m", "24h" or "30d"'
A_SIZE: Final = 'a size such as "49MB", "1GB" or "512MiB" (MB is 1,000,000 bytes)'
A_SECRET: Final = 'a text or { file = "path" }'  # noqa: S105 - words, no secret


def parse_duration(value: object) -> float:
    """Return seconds; a bare number is seconds already. ValueError if it is neither."""
    return _scaled(value, DURATION_UNITS, "s", A_DURATION)


def parse_size(value: object) -> int:
    """Return bytes; a bare number is bytes already. ValueError if it is neither."""
    return int(_scaled(value, SIZE_UNITS, "B", A_SIZE))


def _scaled(
    value: object, units: dict[str, float] | dict[str, int], bare: str, expected: str
) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str) and (found := _NUMBER_AND_UNIT.fullmatch(value)):
        number, unit = found.groups()
        if (unit or bare) in units:
            return float(number) * units[unit or bare]
    message = f"expected {expected}"
    raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is never printed, given directly or as a file that is read anew."""

    text: str | None = None
    file: Path | None = None

    def read(self, key: str = "secret") -> str:
        """Return the secret as it is now; ConfigurationError naming `key` if it fails.

        A file is read at every call, so that a rotated secret is picked up; one line
        break at its end is not part of the secret.
        """
        if self.file is None:
            return self.text or ""
        try:
            text = self.file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            allowed = f"expected a readable text file ({error})"
            raise ConfigurationError(key, str(self.file), allowed) from error
        if not text:
            allowed = "expected a file that is not empty"
            raise ConfigurationError(key, str(self.file), allowed)
        return text.removesuffix("\r")

    def __repr__(self) -> str:
        """Show where the secret is from, never what it is."""
        return f"Secret(file={str(self.file)!r})" if self.file else "Secret(***)"


def parse_secret(value: object) -> Secret:
    """Read `"text"` or `{ file = "path" }`; ValueError if it is neither."""
    match value:
        case Secret():
            return value
        case str() if value:
            return Secret(text=value)
        case {"file": str() | Path() as file, **rest} if file and not rest:
            return Secret(file=Path(file))
        case _:
            message = f"expected {A_SECRET}"
            raise ValueError(message)


def is_sensitive(name: str) -> bool:
    """Whether a key's value is a secret, judged by the key's name."""
    return _SENSITIVE_NAME.search(name) is not None


def http_address(address: str) -> str:
    """Check an http or https address and drop its last slash; ValueError if not."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username:
        message = "expected an address such as https://example.com:8443"
        raise ValueError(message)
    return address.rstrip("/")


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written as `"1s"`."""

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes, written as `"49MB"`."""

SecretText = Annotated[Secret, PlainValidator(parse_secret)]
"""A `Secret`, written as text or as `{ file = "path" }`."""
