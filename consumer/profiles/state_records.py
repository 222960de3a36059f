"""The records of the `state` topic, which make a store whole again.

Keys: `position`, whose value is the input position as JSON; `ids` with a bucket
and a chunk number (each eight bytes, big-endian), whose value is the event-id hashes
of one chunk; and `erased` with a visitor's store key, whose value is when, as JSON. A
chunk's number is the source offset of its first id. The owner tombstones the chunks
that leave the deduplication horizon, and erasures that are long past.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import numpy as np

from consumer.profiles.seen import Ids
from consumer.profiles.store import Changes, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.profiles.columns import Ints

POSITION_KEY = b"position"
IDS_KEY = struct.Struct(">3sQQ")
IDS = b"ids"
ERASED = b"erased"
KEY_BYTES = 16
# Sixteen bytes each: half a megabyte, below any broker's limit on a record.
MOST_IDS = 32_768


def chunked(ids: Ids, buckets: Ints, offsets: Ints) -> dict[tuple[int, int], Ids]:
    """Cut ids into chunks by bucket and size, named by bucket and first offset."""
    chunks = {}
    for bucket in np.unique(buckets).tolist():
        rows = np.flatnonzero(buckets == bucket)
        for start in range(0, len(rows), MOST_IDS):
            part = rows[start : start + MOST_IDS]
            chunks[bucket, int(offsets[part[0]])] = ids.where(part)
    return chunks


def to_records(
    position: Position,
    seen: Mapping[tuple[int, int], Ids],
    forgotten: Sequence[tuple[int, int]],
    *,
    suppressed: Mapping[bytes, int | None] | None = None,
) -> list[tuple[bytes, bytes | None]]:
    """Give the key-value pairs that a transaction writes for one partition."""
    records: list[tuple[bytes, bytes | None]] = [
        (IDS_KEY.pack(IDS, *chunk), ids.to_bytes()) for chunk, ids in seen.items()
    ]
    records += [(IDS_KEY.pack(IDS, *chunk), None) for chunk in forgotten]
    for key, at in (suppressed or {}).items():
        value = None if at is None else json.dumps({"at": at}).encode()
        records.append((ERASED + key, value))
    return [*records, (POSITION_KEY, position.to_json())]


def to_changes(records: Iterable[tuple[bytes, bytes | None]]) -> Changes:
    """Give what records read from the topic, in order, change in a store."""
    position: Position | None = None
    seen: dict[tuple[int, int], Ids] = {}
    forgotten: list[tuple[int, int]] = []
    suppressed: dict[bytes, int | None] = {}
    for key, value in records:
        if key == POSITION_KEY and value is not None:
            position = Position.from_json(value)
        elif key.startswith(IDS) and len(key) == IDS_KEY.size:
            _, bucket, number = IDS_KEY.unpack(key)
            if value is None:
                seen.pop((bucket, number), None)
                forgotten.append((bucket, number))
            else:
                seen[bucket, number] = Ids.from_bytes(value)
        elif key.startswith(ERASED) and len(key) == len(ERASED) + KEY_BYTES:
            at = None if value is None else int(json.loads(value)["at"])
            suppressed[key.removeprefix(ERASED)] = at
    return Changes(
        seen=seen, forgotten=forgotten, suppressed=suppressed, position=position
    )
