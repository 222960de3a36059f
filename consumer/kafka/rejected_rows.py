"""Rows that Target cannot take, kept by visitor with their reason.

A compacted topic, `<application>.rejected-rows`: the key is the visitor, the value JSON
with `version` (of the profile), `reason` (a word) and `sentence`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.kafka.durable import DurableWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.config import Settings


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that was not sent, from this partition of `profiles`."""

    visitor: str
    partition: int
    version: int
    reason: str
    sentence: str


class RejectedRows:
    """Writes rejected rows; blocks, call it off the event loop."""

    def __init__(self, settings: Settings) -> None:
        """Make the producer; ConfigurationError if an option is refused."""
        self._writer = DurableWriter(
            settings, settings.topics.rejected_rows, "rejected", "writing rejected rows"
        )

    def write(self, rows: Sequence[RejectedRow]) -> None:
        """Write rows durably; BrokerUnreachable or BrokerRefused if not."""
        self._writer.write((row.partition, row.visitor, encode(row)) for row in rows)

    def forget(self, visitors: Sequence[str], partitions: Iterable[int]) -> None:
        """Remove what is kept of visitors, wherever it is; raises as `write` does."""
        self._writer.write((p, one, None) for p in partitions for one in visitors)

    def close(self) -> None:
        """Let go of the broker; everything written was durable before."""
        self._writer.close()


def encode(row: RejectedRow) -> bytes:
    """Write a row as the value of its record."""
    value = {"version": row.version, "reason": row.reason, "sentence": row.sentence}
    return json.dumps(value).encode()
