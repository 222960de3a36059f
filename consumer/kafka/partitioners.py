"""By which of the usual partitioners the keys of records were placed. Pure.

Kafka's own clients take murmur2 of the key, librdkafka's CRC-32 unless it is told
otherwise; where producers of both kinds write to a topic, one key lies in two of its
partitions. Sources: Kafka's `Utils.murmur2` and `BuiltInPartitioner`, librdkafka's
`rdkafka_msg.c` (`consistent`).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.frames import Records

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_SHIFT: Final = 24
_WORD: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """Hash as Kafka's clients do; 32 bits, without a sign."""
    hashed = _SEED ^ len(key)
    whole = len(key) // 4 * 4
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        mixed = word * _MULTIPLIER & _WORD
        mixed ^= mixed >> _SHIFT
        hashed = hashed * _MULTIPLIER & _WORD
        hashed ^= mixed * _MULTIPLIER & _WORD
    if rest := key[whole:]:
        hashed ^= int.from_bytes(rest, "little")
        hashed = hashed * _MULTIPLIER & _WORD
    hashed ^= hashed >> 13
    hashed = hashed * _MULTIPLIER & _WORD
    return hashed ^ hashed >> 15


PARTITIONERS: Final[Mapping[str, Callable[[bytes, int], int]]] = {
    "murmur2": lambda key, count: (murmur2(key) & _POSITIVE) % count,
    "crc32": lambda key, count: zlib.crc32(key) % count,
}


def likely_first(key: bytes, partitions: list[int]) -> list[int]:
    """Order partitions for a search: where a partitioner would place the key, first."""
    if not partitions:
        return []
    likely = [place(key, len(partitions)) for place in PARTITIONERS.values()]
    return [*dict.fromkeys([*(partitions[one] for one in likely), *partitions])]


def placed_by(records: Records, count: int) -> dict[str, int]:
    """Count the records with a key that each partitioner would have placed so.

    `count` is how many partitions the topic has. Under `keyed` stands how many records
    have a key.
    """
    keyed = [
        (key, partition)
        for key, partition in zip(
            records.keys, records.partitions.tolist(), strict=True
        )
        if key
    ]
    found = {
        name: sum(place(key, count) == partition for key, partition in keyed)
        for name, place in PARTITIONERS.items()
    }
    return {"keyed": len(keyed), **found}
