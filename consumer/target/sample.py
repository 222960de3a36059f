"""A confirmed row held against the profile that Target then has. Pure.

A row as it was sent and the reply to a fetch enter, what became of the row leaves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.target.outcome import Reply

_OK = 200
_ABSENT = 404
_BUSY = (429, 503)


class Found(StrEnum):
    """What a fetch shows of a row."""

    PRESENT = "present"
    MISSING = "missing"
    """There is no profile, or another value."""

    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    """No usable answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that was sent: whose, where its profile stands, and its values."""

    visitor: str
    partition: int
    offset: int
    values: Mapping[str, str]


def values_of(line: bytes, attributes: Sequence[str]) -> dict[str, str]:
    """Read the values that an encoded row sets; empty cells set none."""
    _, *cells = line.decode("ascii").rstrip("\n").split(",")
    named = zip(attributes, cells, strict=False)
    return {name: unquote_to_bytes(cell).decode() for name, cell in named if cell}


def profile_path(visitor: str, client: str) -> str:
    """Return the path, with its query, of the fetch of a profile."""
    who, whose = quote(visitor, safe=""), quote(client, safe="")
    return f"/rest/v1/profiles/thirdPartyId/{who}?client={whose}"


def judge(sample: Sample, reply: Reply) -> Found:
    """Tell whether Target's profile holds the row's values."""
    if reply.failure is not None or reply.status not in (_OK, _ABSENT, *_BUSY):
        return Found.UNKNOWN
    if reply.status in _BUSY:
        return Found.THROTTLED
    try:
        answer = json.loads(reply.body)
        if reply.status == _ABSENT:  # Target's own words, not those of a wrong address
            return Found.MISSING if answer["status"] == _ABSENT else Found.UNKNOWN
        held = answer["profileAttributes"]
        same = all(
            held.get(name, {}).get("value") == value
            for name, value in sample.values.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Found.UNKNOWN
    return Found.PRESENT if same else Found.MISSING
