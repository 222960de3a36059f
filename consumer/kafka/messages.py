"""Messages of the client to columns.

A message, its key and its value are objects; here they become `Records`, and nothing
keeps them but their headers, where they have any.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import Message

from consumer.frames import Records
from consumer.packed import Packed

if TYPE_CHECKING:
    from consumer.frames import Headers


def to_records(found: list[Message]) -> Records:
    """Give what the client delivered as columns; none of it is an error.

    `map` over the client's methods makes no frame a call: a quarter cheaper. Nothing
    keeps the messages but their headers, where they have any.
    """
    count = len(found)
    times = map(itemgetter(1), map(Message.timestamp, found))
    heads = _heads(found)
    headed = any(heads)
    return Records(
        partitions=np.fromiter(map(Message.partition, found), np.int32, count),
        offsets=np.fromiter(map(Message.offset, found), np.int64, count),
        timestamps=np.fromiter(times, np.int64, count),
        keys=Packed.unless_absent(list(map(Message.key, found))),
        values=Packed.unless_absent(list(map(Message.value, found))),
        headers=(lambda row: _headers(heads[row])) if headed else _no_headers,
    )


def _heads(found: list[Message]) -> list[Any]:
    """Give each message's headers; none where the name of one is not UTF-8.

    The client raises then, and crashes if the same message is asked again.
    """
    heads: list[Any] = []
    left = iter(found)
    while True:
        try:
            heads.extend(map(Message.headers, left))  # what came before stays
        except SystemError:
            heads.append(None)
        else:
            return heads


def _no_headers(_: int) -> Headers:
    return []


def _headers(found: Any) -> Headers:  # noqa: ANN401 - the client's
    pairs = found.items() if isinstance(found, dict) else found or []
    return [(k, v.encode() if isinstance(v, str) else v) for k, v in pairs]
