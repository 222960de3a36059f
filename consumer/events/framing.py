"""Where a record says its schema: bytes in front of it, a header, or nowhere.

Enters: `Records`. Leaves: an id for each, `UNREADABLE` where it has none, with the
verdict; and the record as codecs take it, with five bytes in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from uuid import UUID

import numpy as np

from consumer.frames import DeadLetter, Outcome
from consumer.packed import Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.frames import Records, Verdicts

SchemaId: TypeAlias = int | UUID

FRAME: Final = 5
MAGIC: Final = 0
GUID_MAGIC: Final = 1
GUID_BYTES: Final = 17
UNREADABLE: Final = -1
HEADER: Final = "__value_schema_id"
NO_HEAD: Final = bytes(FRAME)
ONLY_SCHEMA: Final = 0


class Framing(Protocol):
    """Reads where a record says its schema."""

    def ids(
        self, records: Records, packed: Packed, verdicts: Verdicts
    ) -> NDArray[np.int64]:
        """Give a number for each record's schema; what has none is marked.

        `packed` are the values of `records`.
        """
        ...

    def schema_id(self, number: int) -> SchemaId:
        """Give the schema id that a number stands for."""
        ...

    def framed(self, packed: Packed, rows: NDArray[np.int64]) -> Packed:
        """Give values with `FRAME` bytes in front; only such are asked for as have ids.

        They are of the records of the last call of `ids`.
        """
        ...


class Prefix:
    """Confluent's framing: a zero byte and four of the schema id."""

    def ids(
        self, records: Records, packed: Packed, verdicts: Verdicts
    ) -> NDArray[np.int64]:
        """Read the first bytes."""
        ids = np.full(len(records), UNREADABLE, np.int64)
        long = np.flatnonzero(packed.sizes >= FRAME)
        heads = packed.data[packed.starts[long, None] + np.arange(FRAME)]
        found = heads[:, 1:].copy().view(">i4")[:, 0]
        ids[long] = np.where(heads[:, 0] == MAGIC, found, UNREADABLE)
        for row in np.flatnonzero(ids < 0).tolist():
            ids[row] = UNREADABLE
            _refuse(row, records.values[row], verdicts)
        return ids

    def schema_id(self, number: int) -> SchemaId:
        """Give the id itself."""
        return number

    def framed(self, packed: Packed, rows: NDArray[np.int64]) -> Packed:
        """Give the values as they are."""
        return packed.take(rows)


class Header:
    """The schema's id or GUID in a header; without it, Confluent's framing."""

    def __init__(self) -> None:
        self._prefix = Prefix()
        self._guids: list[UUID] = []
        self._numbers: dict[UUID, int] = {}
        self._headed: set[int] = set()

    def ids(
        self, records: Records, packed: Packed, verdicts: Verdicts
    ) -> NDArray[np.int64]:
        """Read each record's header, of several the last one."""
        ids = np.full(len(records), UNREADABLE, np.int64)
        bare = []
        self._headed = set()
        for row, value in enumerate(records.values):
            heads = [text for name, text in records.headers(row) if name == HEADER]
            if not heads or not value:
                bare.append(row)
                continue
            number = self._number(heads[-1] or b"")
            if number == UNREADABLE:
                sentence = f"The header {HEADER} holds neither a schema id nor a GUID."
                verdicts.refuse(DeadLetter(row, "bad_magic", sentence))
                continue
            ids[row] = number
            self._headed.add(row)
        if bare:
            rows = np.array(bare)
            inner = type(verdicts).of(len(bare))
            ids[rows] = self._prefix.ids(records.take(rows), packed.take(rows), inner)
            verdicts.outcomes[rows] = inner.outcomes
            for letter in inner.dead_letters:
                verdicts.refuse(
                    DeadLetter(
                        bare[letter.row],
                        letter.reason,
                        letter.sentence,
                        letter.schema_id,
                    )
                )
        return ids

    def _number(self, head: bytes) -> int:
        if len(head) >= GUID_BYTES and head[0] == GUID_MAGIC:
            guid = UUID(bytes=head[1:GUID_BYTES])
            if guid not in self._numbers:
                self._guids.append(guid)
                self._numbers[guid] = UNREADABLE - len(self._guids)
            return self._numbers[guid]
        if len(head) >= FRAME and head[0] == MAGIC:
            found = int.from_bytes(head[1:FRAME], "big", signed=True)
            return found if found >= 0 else UNREADABLE
        return UNREADABLE

    def schema_id(self, number: int) -> SchemaId:
        """Give the id, or the GUID that a number below none stands for."""
        return number if number >= 0 else self._guids[UNREADABLE - 1 - number]

    def framed(self, packed: Packed, rows: NDArray[np.int64]) -> Packed:
        """Put bytes in front of those that have their id in a header."""
        headed = self._headed
        return Packed.of(
            [
                NO_HEAD + value if row in headed else value
                for row, value in zip(rows.tolist(), packed.take(rows), strict=True)
            ]
        )


class Bare:
    """No framing: all records have one schema. JSON may have Confluent's still."""

    def __init__(self, *, is_json: bool = False) -> None:
        """Skip the framing of Confluent's JSON serializer where `is_json`."""
        self._is_json = is_json

    def ids(
        self, records: Records, packed: Packed, verdicts: Verdicts
    ) -> NDArray[np.int64]:
        """Give all that have a value the one schema."""
        ids = np.full(len(records), ONLY_SCHEMA, np.int64)
        for row in np.flatnonzero(packed.sizes == 0).tolist():
            ids[row] = UNREADABLE
            _refuse(row, records.values[row], verdicts)
        return ids

    def schema_id(self, number: int) -> SchemaId:
        """Give the one there is."""
        return number

    def framed(self, packed: Packed, rows: NDArray[np.int64]) -> Packed:
        """Put bytes in front of the values; no JSON text begins with a zero byte."""
        values = packed.take(rows)
        if not self._is_json:
            return Packed.of([NO_HEAD + value for value in values])
        return Packed.of(
            [value if value[:1] == b"\0" else NO_HEAD + value for value in values]
        )


def unknown(row: int, schema_id: SchemaId) -> DeadLetter:
    """Say that there is no such schema."""
    sentence = f"There is no schema with id {schema_id}."
    number = schema_id if isinstance(schema_id, int) else None
    return DeadLetter(row, "unknown_schema", sentence, number)


def _refuse(row: int, value: bytes | None, verdicts: Verdicts) -> None:
    if value is None:
        verdicts.mark(np.array([row]), Outcome.FILTERED)
    elif not value:
        verdicts.refuse(DeadLetter(row, "empty", "The record has no bytes."))
    elif value[0] != MAGIC:
        verdicts.refuse(
            DeadLetter(
                row,
                "bad_magic",
                f"The record begins with byte {value[0]}, not with 0 and a schema id "
                "(Confluent framing).",
            )
        )
    elif len(value) < FRAME:
        verdicts.refuse(
            DeadLetter(row, "undecodable", "The record ends within its framing.")
        )
    else:
        schema_id = int.from_bytes(value[1:FRAME], "big", signed=True)
        verdicts.refuse(unknown(row, schema_id))
