"""Spoils a good record's value in a stated way; pure.

The offsets lean on how a purchase begins: five bytes of framing, then an event id of
36 ASCII characters behind its length, then the event type, then the visitor's branch.
"""

from typing import Final

from consumer.sandbox.purchases.schema import framing
from consumer.sandbox.purchases.spec import Kind

UNKNOWN_SCHEMA_ID: Final = 999_999
_FRAMING: Final = 5
_EVENT_ID: Final = _FRAMING + 1
_EVENT_TYPE: Final = _EVENT_ID + 36
# (offset, byte): each makes the record unreadable at once, by any reader.
_WRONG_TYPES: Final = (
    (_EVENT_TYPE, b"\x0e"),  # the eighth symbol of an enum of three
    (_EVENT_TYPE + 1, b"\x0a"),  # the sixth branch of a union of two
    (_FRAMING, b"\x01"),  # a string of minus one bytes
    (_EVENT_ID + 7, b"\xff"),  # no UTF-8
)


def spoil(kind: Kind, value: bytes, turn: int) -> bytes:
    """Return `value` spoiled as `kind` says; `turn` varies how."""
    at, byte = _WRONG_TYPES[turn % len(_WRONG_TYPES)]
    other = b'{"event_id":"7"}' if turn % 2 else b"\x01" + value[1:]
    spoiled = {
        Kind.EMPTY: b"",
        Kind.BAD_MAGIC: other,
        Kind.UNKNOWN_SCHEMA: framing(UNKNOWN_SCHEMA_ID) + value[_FRAMING:],
        Kind.TRUNCATED: value[: _FRAMING + turn % (len(value) - _FRAMING)],
        Kind.TRAILING_BYTES: value + b"\0" * (1 + turn % 3),
        Kind.WRONG_TYPE: value[:at] + byte + value[at + 1 :],
    }
    return spoiled.get(kind, value)
