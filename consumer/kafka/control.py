"""The `control` topic: one partition, compacted, read whole by every replica.

It holds what all replicas must agree on, and what only a partition's owner can do: see
`control_records`. `Control` reads it whole and writes to it; `ControlFollower` goes on
reading for as long as the process lives.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from consumer.errors import BrokerUnreachable
from consumer.kafka.changelog import Changelog
from consumer.kafka.control_records import ControlView, Record, encode
from consumer.kafka.durable import DurableWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.config import Settings

READ_SECONDS: Final = 0.5


class Control:
    """Reads and writes the control topic. All calls block; threads may share it."""

    def __init__(self, settings: Settings) -> None:
        """Take the topic's name; nothing is connected yet."""
        self._settings = settings
        self._topic = settings.topics.control
        self._writer: DurableWriter | None = None
        self._making = threading.Lock()

    def read(self, keep_waiting: Callable[[], bool] = lambda: True) -> ControlView:
        """Read the topic from its start to its present end.

        `BrokerUnreachable` where `keep_waiting` ends it before: a part is no answer,
        since whoever took it for the whole would announce what is there already.
        """
        view = ControlView()
        with closing(Changelog(self._settings)) as changelog:
            changelog.add({(self._topic, 0): 0})
            while not changelog.idle:
                if not keep_waiting():
                    raise BrokerUnreachable(
                        f"Reading {self._topic} was given up before its end."
                    )
                for tail in changelog.read(READ_SECONDS):
                    records = zip(tail.keys, tail.values, strict=True)
                    view = view.with_records(records, tail.next_offset)
        return view

    def put(self, *records: Record) -> None:
        """Write records; when it returns, every replica will read them.

        BrokerUnreachable or BrokerRefused if not: they may or may not be there.
        """
        self._write((one.key, encode(one)) for one in records)

    def remove(self, keys: Iterable[str]) -> None:
        """Write tombstones for keys, in their order; raises as `put` does."""
        self._write((key, None) for key in keys)

    def close(self) -> None:
        """Let go of the broker; everything written was durable before."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, records: Iterable[tuple[str, bytes | None]]) -> None:
        with self._making:
            if self._writer is None:
                doing = "writing the control topic"
                self._writer = DurableWriter(
                    self._settings, self._topic, "control", doing
                )
        self._writer.write((0, key, value) for key, value in records)
