"""A record that nobody could decode, decoded as far as it goes: for people to look at.

Enters: a codec and a framed record. Leaves: the fields that the safe codec reads, in
the schema's order, and why it went no further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from consumer.events.framing import FRAME
from consumer.events.strict import Malformed, reader

if TYPE_CHECKING:
    from consumer.events.codecs import Codec


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The fields read, the first one that was not (or None), why, and what is left.

    `left` are the bytes behind the last field that was read.
    """

    fields: dict[str, Any]
    stopped_at: str | None
    why: str
    left: bytes


def salvage(codec: Codec, record: bytes) -> Salvaged:
    """Decode the longest run of leading fields; never raises for any bytes."""
    fields: dict[str, Any] = {}
    at = FRAME
    for one in codec.type.fields:
        try:
            found, end = reader(one.type)(record, at)
        except Malformed as why:
            return Salvaged(fields, one.name, str(why), record[at:])
        fields[one.name] = _shown(found, one.type.arrow)
        at = end
    return Salvaged(fields, None, "", record[at:])


def _shown(found: Any, kind: pa.DataType) -> Any:  # noqa: ANN401 - of any type
    """Give what a column would hold; a time that no calendar has stays a number."""
    try:
        return pa.scalar(found, kind).as_py()
    except (pa.ArrowException, ValueError, OverflowError):
        return found
