"""Whether Target has all profiles of a partition up to an offset, and for certain.

Committed offsets say that Target accepted them; the ledger must hold no batch of them
that has not come to its end, since its rows may be read again. Asking takes a moment,
so it is done on a thread, and the answer is had at a later call.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from consumer.errors import PosConsumerError
from consumer.kafka.clients import admin_client, passing
from consumer.kafka.uploads_ledger import UploadsLedger

if TYPE_CHECKING:
    from consumer.config import Settings

ASK_SECONDS: Final = 10.0


class Delivered:
    """Asks the group of the upload stage and its ledger. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        """Connect at the first question."""
        self._settings = settings
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="delivered")
        self._asked: dict[tuple[int, int], Future[bool]] = {}

    def __call__(self, partition: int, offset: int) -> bool:
        """Tell what the last answer was; until it is yes the question is asked anew."""
        place = partition, offset
        asked = self._asked.get(place)
        if asked is not None and not asked.done():
            return False
        answer = False
        if asked is not None:
            with suppress(PosConsumerError):  # whoever needs an answer waits
                answer = asked.result()
        if answer:
            del self._asked[place]
        else:
            self._asked[place] = self._worker.submit(self._ask, partition, offset)
        return answer

    def close(self) -> None:
        """Ask no more; what is being asked comes to nothing."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _ask(self, partition: int, offset: int) -> bool:
        if self._committed(partition) < offset:
            return False
        ledger = UploadsLedger(self._settings)
        try:
            found = ledger.read_open([partition])
        finally:
            ledger.close()
        firsts = [first for entry in found.entries for first, _ in entry.ranges]
        return not found.unreadable and all(first >= offset for first in firsts)

    def _committed(self, partition: int) -> int:
        topic = self._settings.topics.profiles
        admin = admin_client(self._settings)
        wanted = ConsumerGroupTopicPartitions(
            self._settings.upload_group, [TopicPartition(topic, partition)]
        )
        try:
            asked = admin.list_consumer_group_offsets(
                [wanted], request_timeout=ASK_SECONDS
            )
            found = asked[self._settings.upload_group].result()
        except KafkaException as error:
            raise passing(error, "fetching the upload's offsets") from error
        return max((one.offset for one in found.topic_partitions), default=-1)
