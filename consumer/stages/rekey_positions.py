"""Where each partition of the source goes on, from `rekey-state` and committed offsets.

    assigned --> RESTORING --(position reaches the end)--> RUNNING
                     |
                     +--(topic recreated, or rekeyed without a position)--> HALTED

As in the aggregate stage: stable committed offsets first, then the end of our topic
taken read_uncommitted, then reading it read_committed up to that end. The position in
our topic counts; committed offsets may expire or be reset.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

import structlog

from consumer.errors import PartitionHalt
from consumer.frames import Tally
from consumer.stages.beginning import first_offset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.config import Settings
    from consumer.kafka.changelog import Changelog
    from consumer.kafka.input import InputConsumer
    from consumer.kafka.topics import Cluster

log = structlog.get_logger(__name__)

KEY: Final = "position/"


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """How far a partition of the source has been rekeyed; `tally` of dead letters."""

    topic_id: str
    next_offset: int
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> bytes:
        """Write the record's value."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote."""
        found = json.loads(data)
        return cls(**found | {"tally": Tally(**found["tally"])})


def to_record(number: int, position: SourcePosition) -> tuple[bytes, bytes]:
    """Give the record that keeps a position in `rekey-state`."""
    return f"{KEY}{number}".encode(), position.to_json()


class SourcePositions:
    """Restores, runs and gives partitions up. Used by the stage's thread only."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        source: InputConsumer,
        changelog: Changelog,
        cluster: Cluster,
        *,
        ends: Sequence[int] = (),
        forbidden: PartitionHalt | None = None,
    ) -> None:
        """Join the parts; nothing is read yet.

        `ends` is where the source ended when the application began. `forbidden` is a
        problem that lets no partition run.
        """
        self._forbidden = forbidden
        self._ends = ends
        self._settings = settings
        self._source = source
        self._changelog = changelog
        self._topic = settings.topics.rekey_state
        self._homes = cluster.partitions[self._topic]
        self._topic_id = cluster.topic_ids[settings.topics.source]
        self._committed: dict[int, int] = {}
        self._found: dict[int, SourcePosition] = {}
        self.running: dict[int, SourcePosition] = {}
        self.restoring: set[int] = set()
        self.halted: dict[int, PartitionHalt] = {}
        self.new: dict[int, SourcePosition] = {}

    def home(self, number: int) -> int:
        """Give the partition of our topic that keeps a position."""
        return number % self._homes

    def next_offsets(self) -> dict[int, int]:
        """Give where each running partition goes on."""
        return {number: one.next_offset for number, one in self.running.items()}

    def after(
        self, next_offsets: Mapping[int, int], tallies: Mapping[int, Tally]
    ) -> dict[int, SourcePosition]:
        """Give the positions after a batch."""
        return {
            number: SourcePosition(
                self._topic_id, offset, tallies.get(number, self.running[number].tally)
            )
            for number, offset in next_offsets.items()
        }

    def assign(self, numbers: Iterable[int]) -> None:
        """Begin to find where partitions go on; retriable where it cannot be known."""
        wanted = [n for n in numbers if n not in self.restoring | self.running.keys()]
        if (halt := self._forbidden) is not None:
            for number in wanted:
                self.halt(number, halt)
            return
        if not wanted:
            return
        committed = self._source.committed(wanted)
        homes = {(self._topic, self.home(number)): 0 for number in range(self._homes)}
        self._changelog.remove(homes)
        self._found.clear()
        self._changelog.add(homes)
        self._committed |= {number: committed.get(number, -1) for number in wanted}
        self.restoring |= {*wanted}

    def restore(self, timeout: float) -> None:
        """Read on; partitions that are decided start to flow."""
        for tail in self._changelog.read(timeout):
            for key, value in zip(tail.keys, tail.values, strict=True):
                name = key.decode()
                if value is not None and name.startswith(KEY):
                    number = int(name.removeprefix(KEY))
                    self._found[number] = SourcePosition.from_json(value)
        if not self._changelog.idle:
            return
        for number in sorted(self.restoring):
            try:
                self._start(number)
            except PartitionHalt as halt:
                self.halt(number, halt)
        self.restoring.clear()

    def _start(self, number: int) -> None:
        committed = self._committed.pop(number, -1)
        position = self._found.get(number)
        if position is None:
            offset = self._first(number, committed)
            position = self.new[number] = SourcePosition(self._topic_id, offset)
        elif position.topic_id != self._topic_id:
            raise PartitionHalt(
                "topic_recreated",
                "If the topic was recreated on purpose, use another `application`, or "
                "delete our topics and the state directory to start anew.",
                what=f"Partition {number} was rekeyed from another topic than the "
                f"present {self._settings.topics.source}.",
            )
        else:
            offset = position.next_offset
            if committed != offset:
                log.warning(
                    "committed offset differs from the position kept: that one counts",
                    partition=number,
                    committed=committed if committed >= 0 else None,
                    position=offset,
                )
        self.running[number] = position
        self._source.start({number: offset})
        log.info("partition begins", stage="rekey", partition=number, offset=offset)

    def _first(self, number: int, committed: int) -> int:
        if committed >= 0:
            raise PartitionHalt(
                "state_missing",
                f"Restore the topic {self._topic}, or start anew under another "
                "`application`.",
                what=f"Offset {committed} of partition {number} is committed, but "
                "there is no position that belongs to it.",
            )
        start = self._settings.purchases.start
        return first_offset(self._source, start, number, self._ends)

    def advance(self, positions: Mapping[int, SourcePosition]) -> None:
        """Take what a transaction committed."""
        self.running.update(positions)

    def halt(self, number: int, halt: PartitionHalt) -> None:
        """Stop one partition, visibly; the others go on."""
        log.error(
            "partition halted",
            stage="rekey",
            partition=number,
            reason=halt.reason,
            what=halt.what,
            remedy=halt.remedy,
        )
        self._source.pause([number])
        self.close([number])
        self.halted[number] = halt

    def close(self, numbers: Iterable[int]) -> None:
        """Give partitions up."""
        for number in list(numbers):
            self.running.pop(number, None)
            self.new.pop(number, None)
            self.restoring.discard(number)
            self.halted.pop(number, None)
            self._committed.pop(number, None)
