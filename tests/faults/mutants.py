"""The service, broken on purpose in the ways that the design warns of.

Each mutant is a function that replaces something in the running process; `launch.py`
applies it before the command line runs. A harness that does not catch one is blind to
that failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import IsolationLevel, TopicPartition

from consumer.kafka import ends
from consumer.kafka.input import Batch, InputConsumer
from consumer.kafka.transaction import TransactionalProducer
from consumer.stages.aggregate import AggregateStage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.errors import PosConsumerError

Places = dict[tuple[str, int], int]


def _replace(owner: object, name: str, broken: object) -> None:
    """Put something broken in the place of what is right."""
    assert hasattr(owner, name)
    setattr(owner, name, broken)


def _send_nothing(*_: object) -> None:
    """Stand for `send_offsets_to_transaction`."""


class _WithoutOffsets:
    """A producer whose transactions carry no offsets."""

    def __init__(self, producer: Any) -> None:  # noqa: ANN401 - a client
        self._producer = producer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a client's
        if name == "send_offsets_to_transaction":
            return _send_nothing
        return getattr(self._producer, name)


def transactions_without_offsets() -> None:
    """Nothing in a transaction tells the broker which member it comes from."""
    original = TransactionalProducer.__init__

    def init(self: TransactionalProducer, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as it is
        original(self, *args, **kwargs)
        self._producer = _WithoutOffsets(self._producer)  # type: ignore[assignment]

    _replace(TransactionalProducer, "__init__", init)


def offsets_outside_the_transaction() -> None:
    """They are committed by the consumer, after the transaction."""
    transactions_without_offsets()
    readers: list[InputConsumer] = []
    original_init = InputConsumer.__init__

    def init(self: InputConsumer, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as it is
        original_init(self, *args, **kwargs)
        readers.append(self)

    original = TransactionalProducer.commit

    def commit(
        self: TransactionalProducer,
        topic: str,
        next_offsets: Mapping[int, int],
        group_metadata: Any,  # noqa: ANN401 - opaque
    ) -> Places:
        reached = original(self, topic, next_offsets, group_metadata)
        offsets = [TopicPartition(topic, n, o) for n, o in next_offsets.items()]
        readers[-1]._consumer.commit(offsets=offsets, asynchronous=True)
        return reached

    _replace(InputConsumer, "__init__", init)
    _replace(TransactionalProducer, "commit", commit)


def store_before_the_commit() -> None:
    """The local store takes what the broker may yet refuse."""
    committing: list[Callable[[], None]] = []
    original_commit = TransactionalProducer.commit
    original_write = AggregateStage._write

    def commit(self: TransactionalProducer, *args: Any) -> Places:  # noqa: ANN401 - as it is
        for store in committing:
            store()
        return original_commit(self, *args)

    def write(self: AggregateStage, outputs: Any, *others: Any, **named: Any) -> None:  # noqa: ANN401 - as it is
        committing[:] = [lambda: self._store(outputs, {})]
        original_write(self, outputs, *others, **named)

    _replace(TransactionalProducer, "commit", commit)
    _replace(AggregateStage, "_write", write)


def producer_not_recycled() -> None:
    """After an unclean end the same producer goes on."""
    original = AggregateStage._recover

    def recover(self: AggregateStage, error: PosConsumerError) -> None:
        kept, self._producer = self._producer, None
        original(self, error)
        self._producer = kept

    _replace(AggregateStage, "_recover", recover)


def position_of_the_consumer() -> None:
    """Offsets come from `position()`, with records still in hand."""
    original = InputConsumer.consume
    waiting: list[Batch] = []

    def consume(self: InputConsumer, most: int, timeout: float) -> Batch:
        """Give the batch before, and keep this one for the next call."""
        waiting.append(original(self, most, timeout))
        return waiting.pop(0) if len(waiting) > 1 else Batch(None)

    _replace(InputConsumer, "consume", consume)
    original_write = AggregateStage._write

    def write(self: AggregateStage, outputs: Any, *others: Any, **named: Any) -> None:  # noqa: ANN401 - as it is
        from dataclasses import replace

        from consumer.profiles import state_records

        topic = self._settings.topics.purchases
        for number, output in outputs.items():
            (place,) = self._source._consumer.position([TopicPartition(topic, number)])
            position = output.changes.position
            if place.offset < 0 or position is None:
                continue
            position = replace(position, next_offset=place.offset)
            output.changes = replace(output.changes, position=position)
            output.state[-1] = state_records.to_records(position, {}, [])[-1]
        original_write(self, outputs, *others, **named)

    _replace(AggregateStage, "_write", write)


def tick_without_offsets() -> None:
    """What the daily tick writes is fenced by nothing."""
    original_tick = AggregateStage._tick
    ticking: list[bool] = []

    def tick(self: AggregateStage, *args: Any) -> None:  # noqa: ANN401 - as it is
        ticking.append(True)
        try:
            original_tick(self, *args)
        finally:
            ticking.pop()

    original = TransactionalProducer._send_offsets

    def send(self: TransactionalProducer, *args: Any) -> None:  # noqa: ANN401 - as it is
        if not ticking:
            original(self, *args)

    _replace(AggregateStage, "_tick", tick)
    _replace(TransactionalProducer, "_send_offsets", send)


def restore_to_the_committed_end() -> None:
    """The ends of `profiles` and `state` are taken as a reader sees them."""

    class Committed:
        READ_COMMITTED = IsolationLevel.READ_COMMITTED
        READ_UNCOMMITTED = IsolationLevel.READ_COMMITTED

    _replace(ends, "IsolationLevel", Committed)


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    mutant.__name__: mutant
    for mutant in (
        offsets_outside_the_transaction,
        transactions_without_offsets,
        store_before_the_commit,
        producer_not_recycled,
        position_of_the_consumer,
        restore_to_the_committed_end,
        tick_without_offsets,
    )
}
