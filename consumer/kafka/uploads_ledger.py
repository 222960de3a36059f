"""The uploads ledger: what was sent to Target and has not come to its end.

A compacted topic with as many partitions as `profiles`. A batch has one entry in each
partition that its rows are from, under its own id as the key; every record is the whole
entry, so compaction keeps what is needed:

    intent     before the POST: offset ranges, rows, time       {"v": 1, "state": ...}
    accepted   with Target's batch id and status URL            {"v": 1, "state": ...}
    end        a tombstone, so that the topic stays as small as what is open

The value is JSON: `v` 1, `state` "intent" or "accepted", `ranges` [[first, last], ...],
`exact`, `rows`, `intent_at`, and once accepted `batch_id`, `status_url`, `accepted_at`,
`ambiguous_at` (when an earlier try went without an answer, or null). Times are seconds
since the epoch. `doubtful` (its visitors' rows were sent again, or let go, before its
end) and `stuck` stand there only where they are true.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from consumer.errors import BrokerUnreachable, PartitionHalt
from consumer.kafka.clients import broker_error, client_options
from consumer.kafka.durable import DurableWriter
from consumer.kafka.ends import Ends, Place
from consumer.kafka.profiles_ranges import available

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from consumer.config import Settings

FORMAT: Final = 1
READ_SECONDS: Final = 60.0
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch in one partition.

    `ranges` are its offsets there, first and last included, `rows` how many rows they
    hold; `exact` as in `target.offsets.Span`. An empty `batch_id` is a mere intent.
    """

    batch: str
    partition: int
    ranges: tuple[tuple[int, int], ...]
    exact: bool
    rows: int
    intent_at: float
    batch_id: str = ""
    status_url: str = ""
    accepted_at: float | None = None
    ambiguous_at: float | None = None
    doubtful: bool = False
    stuck: bool = False

    @property
    def accepted(self) -> bool:
        """Whether Target gave the batch an id."""
        return bool(self.batch_id)

    def accept(
        self,
        batch_id: str,
        status_url: str,
        at: float,
        ambiguous_at: float | None,
    ) -> Entry:
        """Return the entry of the same batch, now accepted."""
        return replace(
            self,
            batch_id=batch_id,
            status_url=status_url,
            accepted_at=at,
            ambiguous_at=ambiguous_at,
        )


@dataclass(frozen=True, slots=True)
class OpenEntries:
    """What is open in some partitions, oldest first, and those that are unreadable."""

    entries: list[Entry] = field(default_factory=list)
    unreadable: dict[int, PartitionHalt] = field(default_factory=dict)


def encode(entry: Entry) -> bytes:
    """Write an entry as the value of its record."""
    value: dict[str, Any] = {
        "v": FORMAT,
        "state": "accepted" if entry.accepted else "intent",
        "ranges": entry.ranges,
        "exact": entry.exact,
        "rows": entry.rows,
        "intent_at": entry.intent_at,
    }
    if entry.accepted:
        value |= {
            "batch_id": entry.batch_id,
            "status_url": entry.status_url,
            "accepted_at": entry.accepted_at,
            "ambiguous_at": entry.ambiguous_at,
        }
        marks = {"doubtful": entry.doubtful, "stuck": entry.stuck}
        value |= {name: True for name, is_so in marks.items() if is_so}
    return json.dumps(value, separators=(",", ":")).encode()


def decode(key: bytes | None, value: bytes, partition: int) -> Entry:
    """Read a record's entry; PartitionHalt if this release cannot read it."""
    try:
        found = json.loads(value)
        if found["v"] != FORMAT:
            message = f"its format is {found['v']!r}, this release reads {FORMAT}"
            raise ValueError(message)  # noqa: TRY301 - told like any other defect
        return Entry(
            batch=(key or b"").decode(),
            partition=partition,
            ranges=tuple((int(first), int(last)) for first, last in found["ranges"]),
            exact=bool(found["exact"]),
            rows=int(found["rows"]),
            intent_at=float(found["intent_at"]),
            batch_id=found.get("batch_id", ""),
            status_url=found.get("status_url", ""),
            accepted_at=found.get("accepted_at"),
            ambiguous_at=found.get("ambiguous_at"),
            doubtful=bool(found.get("doubtful")),
            stuck=bool(found.get("stuck")),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PartitionHalt(
            "ledger_unreadable",
            "Run a release that can read it, or remove the record if it is no entry.",
            what=f"A record of the uploads ledger, partition {partition}, cannot be "
            f"read: {error}.",
        ) from error


class UploadsLedger:
    """Writes and reads entries; every method blocks, call them off the event loop.

    Threads may share it. `close` it when done.
    """

    def __init__(self, settings: Settings) -> None:
        """Make the producer; ConfigurationError if an option is refused."""
        self._settings = settings
        self._topic = settings.topics.uploads
        self._writer = DurableWriter(
            settings, settings.topics.uploads, "uploads", "writing the uploads ledger"
        )

    def write(self, entries: Iterable[Entry]) -> None:
        """Write entries durably; when it returns, every replica has them.

        BrokerUnreachable or BrokerRefused if not: then they may or may not be there.
        """
        self._writer.write([(e.partition, e.batch, encode(e)) for e in entries])

    def end(self, batch: str, partitions: Iterable[int]) -> None:
        """Write that a batch has come to its end in these partitions."""
        self._writer.write([(partition, batch, None) for partition in partitions])

    def read_open(self, partitions: Collection[int]) -> OpenEntries:
        """Read these partitions to their present ends; return what is open in them.

        A ledger that is written to all the while has no end that could be waited for.
        BrokerUnreachable if the ends are not reached in time.
        """
        ends = Ends(self._settings).ask((self._topic, number) for number in partitions)
        options = self._settings.kafka.for_consumer() | {
            "group.id": f"{self._settings.upload_group}-ledger",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(client_options(self._settings, "uploads", options))
        try:
            values = read_to(consumer, ends)
        except KafkaException as error:
            raise broker_error(error, "reading the uploads ledger") from error
        finally:
            consumer.close()
        found = OpenEntries()
        for (partition, key), value in values.items():
            try:
                found.entries.append(decode(key, value, partition))
            except PartitionHalt as halt:
                found.unreadable[partition] = halt
        return found

    def close(self) -> None:
        """Let go of the broker; everything written was durable before."""
        self._writer.close()


def read_to(
    consumer: Consumer, ends: Mapping[Place, int]
) -> dict[tuple[int, bytes | None], bytes]:
    """Read partitions to the given ends; the latest value by partition and key.

    Their ends are not waited for: somebody may write to them all the while.
    """
    consumer.assign([TopicPartition(topic, number, 0) for topic, number in ends])
    values: dict[tuple[int, bytes | None], bytes] = {}
    left = {number: end for (_, number), end in ends.items() if end}
    silent = 0.0
    while left and silent < READ_SECONDS:
        records = available(consumer, _BATCH, 1.0)
        silent = 0.0 if records else silent + 1.0
        for record in records:
            partition = cast("int", record.partition())
            if (error := record.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                    left.pop(partition, None)
                elif not error.retriable():
                    raise broker_error(error, "reading the uploads ledger")
                continue
            values.pop((partition, record.key()), None)
            if (value := record.value()) is not None:
                values[partition, record.key()] = value
            if cast("int", record.offset()) + 1 >= left.get(partition, 0):
                left.pop(partition, None)
    if left:
        raise BrokerUnreachable(
            f"The uploads ledger, partitions {sorted(left)}, could not be read to its "
            f"end: {READ_SECONDS:g} s passed without a record."
        )
    return values
