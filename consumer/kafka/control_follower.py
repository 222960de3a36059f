"""Follows the `control` topic for as long as the process lives; one thread.

Enters: where `Control.read` has ended. Leaves: `view`, replaced whole by each change.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from consumer.errors import PosConsumerError
from consumer.kafka.changelog import OURS
from consumer.kafka.clients import client_options, passing
from consumer.kafka.membership import without_group
from consumer.kafka.profiles_ranges import available

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.control import Control
    from consumer.kafka.control_records import ControlView

READ_SECONDS: Final = 0.5
SWEEP_SECONDS: Final = 60.0
KEPT_SECONDS: Final = 3_600.0
"""How long an ended request stays, for those who want to see how it ended."""

_MOST_RECORDS: Final = 10_000

log = logging.getLogger(__name__)


class ControlFollower:
    """Keeps the newest view of the topic; one in a process.

    `run` belongs on a daemon thread. Any thread may look at `view`, which is replaced
    whole by each change: a loop that keeps the view it has seen polls for changes with
    `follower.view is not seen`. What waits is woken by a callback, see `on_change`.
    """

    def __init__(
        self, settings: Settings, control: Control, view: ControlView, clock: Clock
    ) -> None:
        """Start from a view; nothing is connected yet."""
        self.view = view
        self.control = control
        self._settings = settings
        self._clock = clock
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self._stopping = threading.Event()

    def on_change(self, callback: Callable[[], object]) -> None:
        """Have `callback` called on this thread after each change of `view`.

        It must return at once: on an event loop `partial(loop.call_soon_threadsafe,
        event.set)`. Call it before `run`, or look at `view` once afterwards.
        """
        self._callbacks = (*self._callbacks, callback)

    def run(self) -> None:
        """Follow until `stop`, removing on the way what ended long ago.

        Where the topic cannot be read, it says so and goes on trying: until then no
        request is seen, and nothing else suffers.
        """
        options = {
            **without_group(self._settings.kafka.for_consumer()),
            **OURS,
            # Required by the client, never joined: the partition is assigned by hand.
            "group.id": f"{self._settings.application}-control",
        }
        consumer = Consumer(client_options(self._settings, "control", options))
        with closing(consumer):
            topic = self._settings.topics.control
            consumer.assign([TopicPartition(topic, 0, self.view.next_offset)])
            sweep_at = self._clock.monotonic() + SWEEP_SECONDS
            while not self._stopping.is_set():
                self._take(consumer)
                if self._clock.monotonic() >= sweep_at:
                    self._sweep()
                    sweep_at = self._clock.monotonic() + SWEEP_SECONDS

    def stop(self) -> None:
        """Let `run` return, within a second."""
        self._stopping.set()

    def _take(self, consumer: Consumer) -> None:
        """Take what is there; wait a moment for it."""
        records: list[tuple[bytes, bytes | None]] = []
        next_offset = self.view.next_offset
        for one in available(consumer, _MOST_RECORDS, READ_SECONDS):
            error = one.error()
            if error is None:
                records.append((one.key() or b"", one.value()))
                next_offset = (one.offset() or 0) + 1
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                log.warning("%s", passing(error, "following the control topic"))
        if not records:
            return
        before = self.view
        self.view = before.with_records(records, next_offset)
        for key, problem in self.view.unreadable.items():
            if before.unreadable.get(key) != problem:
                log.error("A record of the control topic is unreadable: %s", problem)
        for callback in self._callbacks:
            callback()

    def _sweep(self) -> None:
        """Remove requests that ended long ago; every replica may, it is harmless."""
        keys = self.view.removable(self._clock.now() - KEPT_SECONDS)
        if not keys:
            return
        try:
            self.control.remove(keys)
        except PosConsumerError as error:
            log.warning("Ended requests could not be removed yet: %s", error)
