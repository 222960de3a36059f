"""A record that nobody could decode, decoded as far as it goes: for people to look at.

Enters: a codec and a framed record. Leaves: the fields that the safe codec reads, in
the schema's order, and why it went no further.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastavro

from consumer.events.codecs import FRAME

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
    names = [field["name"] for field in codec.avro["fields"]]
    why = ""
    for count in range(len(names), 0, -1):
        stream = io.BytesIO(record)
        stream.seek(FRAME)
        part = fastavro.parse_schema(
            {
                **{k: v for k, v in codec.avro.items() if not k.startswith("__")},
                "fields": codec.avro["fields"][:count],
            },
            _force=True,
        )
        try:
            found: Any = fastavro.schemaless_reader(stream, part)
        except Exception as error:  # noqa: BLE001 - fastavro raises whatever it meets
            why = str(error) or type(error).__name__
            continue
        stopped = names[count] if count < len(names) else None
        left = record[stream.tell() :]
        return Salvaged(dict(found), stopped, why if stopped else "", left)
    return Salvaged({}, names[0] if names else None, why, record[FRAME:])
