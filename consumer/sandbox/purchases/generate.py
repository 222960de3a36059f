"""A `Spec` becomes batches of Kafka records; pure, nothing is sent."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pyarrow as pa

from consumer.sandbox.purchases.draw import KINDS, Visitors, draw
from consumer.sandbox.purchases.encode import columns, keys, values
from consumer.sandbox.purchases.poison import spoil
from consumer.sandbox.purchases.shop import catalogue
from consumer.sandbox.purchases.spec import POISON, Kind, Spec


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order in which they are to be sent, as parallel lists."""

    keys: list[bytes]
    values: list[bytes | None]
    timestamps_ms: list[int]
    kinds: list[Kind]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.keys)

    def rows(self) -> Iterator[tuple[bytes, bytes | None, int, Kind]]:
        """Yield (key, value, timestamp_ms, kind) of each record."""
        return zip(self.keys, self.values, self.timestamps_ms, self.kinds, strict=True)


Encode: TypeAlias = Callable[[pa.RecordBatch, int], list[bytes]]


def generate(spec: Spec, encode: Encode = values) -> Iterator[Batch]:
    """Yield the whole stream in batches; the same spec gives the same bytes."""
    goods = catalogue()
    visitors = Visitors(spec.visitors, spec.skew)
    for index in range(-(-spec.events // spec.batch)):
        draft = draw(spec, visitors, goods, index)
        table = columns(spec, goods, draft)
        encoded: list[bytes | None] = [*encode(table, spec.schema_id)]
        for row in draft.rows(Kind.DUPLICATE).nonzero()[0].tolist():
            encoded[row] = encoded[draft.same_as[row]]
        for row in draft.rows(Kind.TOMBSTONE).nonzero()[0].tolist():
            encoded[row] = None
        for turn, row in enumerate(draft.rows(*POISON).nonzero()[0].tolist()):
            good = encoded[row]
            if good is not None:
                encoded[row] = spoil(KINDS[draft.kind[row]], good, turn)
        yield Batch(
            keys(draft, table),
            encoded,
            draft.timestamp_ms.tolist(),
            [KINDS[code] for code in draft.kind.tolist()],
        )
