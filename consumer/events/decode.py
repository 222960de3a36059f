"""A batch of raw records to events: framing, codec by schema id, mapping.

Enters: `Records`. Leaves: `Events` in the order of the records; tombstones are
marked filtered and everything else that is no event is a dead letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import structlog

from consumer.errors import PartitionHalt, RegistryUnreachable, SchemaError
from consumer.events.codecs import Decoded
from consumer.events.mapping import joined
from consumer.events.resolve import Resolution, Unfit, resolution
from consumer.frames import DeadLetter, Events, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.events.codecs import Codec
    from consumer.events.grace import SchemaGrace
    from consumer.events.mapping import Mapper
    from consumer.frames import Records, Verdicts

log = structlog.get_logger(__name__)

FRAME = 5
MAGIC = 0
UNREADABLE = -1


class Schemas(Protocol):
    """Where writer schemas come from."""

    def codec(self, schema_id: int) -> Codec | None:
        """Give the codec of a writer schema, None where there is no such schema.

        Raises `SchemaError` when it is no valid schema, and an error that is
        retriable when it cannot be told now.
        """
        ...

    def newest(self) -> tuple[int, Codec]:
        """Give the schema that expressions are checked against, and its id.

        It is the same one as long as the process runs.
        """
        ...

    def name(self, schema_id: int) -> str:
        """Name a schema for people, with its version where that is known."""
        ...


class Decoder:
    """Decodes and maps batches by the writer schemas of one source."""

    def __init__(
        self, schemas: Schemas, mapper: Mapper, grace: SchemaGrace | None = None
    ) -> None:
        """Decode by `schemas`, map by `mapper`.

        Without `grace`, records of a schema that does not exist wait for none.
        """
        self._schemas = schemas
        self._mapper = mapper
        self._grace = grace
        self._resolutions: dict[int, Resolution | str] = {}
        self._usual: tuple[int, Codec] | None = None

    def decode(self, records: Records, verdicts: Verdicts) -> Events | None:
        """Decode a batch; None where no record is an event.

        Where `verdicts.held` has rows, what is behind them in their partitions must be
        left alone.
        """
        if self._usual is not None:
            # Nearly always a batch is sound and of one schema: that is tried first.
            schema_id, codec = self._usual
            if (columns := codec.decode_sound(records.values, schema_id)) is not None:
                whole = Decoded(np.arange(len(records)), columns)
                return self._decode_by(schema_id, whole.rows, records, verdicts, whole)
        ids = self._schema_ids(records, verdicts)
        parts = []
        for schema_id in np.unique(ids[ids != UNREADABLE]).tolist():
            rows = np.flatnonzero(ids == schema_id)
            part = self._decode_by(schema_id, rows, records, verdicts)
            if part is not None and len(part):
                parts.append(part)
        if not parts:
            return None
        events = joined(parts)
        if len(parts) == 1:
            return events
        return _in_order(events)

    def _schema_ids(self, records: Records, verdicts: Verdicts) -> NDArray[np.int64]:
        """Read each record's schema id; what has none is marked."""
        values = records.values
        heads = b"".join(
            [
                value[:FRAME] if value is not None and len(value) >= FRAME else BAD_HEAD
                for value in values
            ]
        )
        framing = np.frombuffer(heads, np.dtype([("magic", "u1"), ("id", ">i4")]))
        ids = framing["id"].astype(np.int64)
        for row in np.flatnonzero((framing["magic"] != MAGIC) | (ids < 0)).tolist():
            ids[row] = UNREADABLE
            value = values[row]
            if value is None:
                verdicts.mark(np.array([row]), Outcome.FILTERED)
            elif not value:
                verdicts.refuse(DeadLetter(row, "empty", "The record has no bytes."))
            elif value[0] != MAGIC:
                verdicts.refuse(
                    DeadLetter(
                        row,
                        "bad_magic",
                        f"The record begins with byte {value[0]}, not with 0 and a "
                        "schema id (Confluent framing).",
                    )
                )
            elif len(value) < FRAME:
                verdicts.refuse(
                    DeadLetter(
                        row, "undecodable", "The record ends within its framing."
                    )
                )
            else:
                schema_id = int.from_bytes(value[1:FRAME], "big", signed=True)
                verdicts.refuse(_unknown(row, schema_id))
        return ids

    def _decode_by(
        self,
        schema_id: int,
        rows: NDArray[np.int64],
        records: Records,
        verdicts: Verdicts,
        decoded: Decoded | None = None,
    ) -> Events | None:
        """Make events of one schema's records, which may have been decoded before."""
        try:
            codec = self._schemas.codec(schema_id)
        except SchemaError as error:
            raise PartitionHalt(
                "schema_unusable", error.remedy, what=error.what
            ) from error
        except RegistryUnreachable as error:
            verdicts.held |= dict.fromkeys(rows.tolist(), str(error))
            return None
        if codec is None:
            self._refuse_unknown(schema_id, rows, records, verdicts)
            return None
        if self._grace is not None:
            self._grace.known(schema_id)
        resolution = self._resolution(schema_id, codec)
        if isinstance(resolution, str):
            self._refuse_unfit(schema_id, rows, resolution, verdicts)
            return None
        self._usual = schema_id, codec
        if decoded is None:
            values = records.values
            decoded = codec.decode([values[row] or b"" for row in rows.tolist()])
        for refusal in decoded.refusals:
            row = int(rows[refusal.row])
            letter = DeadLetter(row, refusal.reason, refusal.sentence, schema_id)
            verdicts.refuse(letter)
        rows, columns = rows[decoded.rows], decoded.columns
        columns, other = resolution.apply(columns)
        if other.any():
            sentence = f"A value is of a type that {OTHER}"
            self._refuse_unfit(schema_id, rows[other], sentence, verdicts)
            rows, columns = rows[~other], columns.filter(pa.array(~other))
        mapped = self._mapper.map(rows, columns)
        for letter in mapped.dead_letters:
            verdicts.refuse(
                DeadLetter(letter.row, letter.reason, letter.sentence, schema_id)
            )
        return mapped.events

    def _resolution(self, schema_id: int, codec: Codec) -> Resolution | str:
        """Make the way to the expected columns, once; or say why there is none."""
        if (found := self._resolutions.get(schema_id)) is not None:
            return found
        newest, expected = self._schemas.newest()
        made: Resolution | str
        try:
            made = resolution(expected.type, codec.type, self._mapper.reads())
        except Unfit as why:
            made = (
                f"{self._schemas.name(schema_id)} {why}, but the configuration reads "
                f"that, as schema {newest} has it: give the field a default or an "
                "alias there, or read another, and replay the dead letters."
            )
        if isinstance(made, str):
            log.error("a schema does not fit", schema_id=schema_id, what=made)
        return self._resolutions.setdefault(schema_id, made)

    def _refuse_unfit(
        self,
        schema_id: int,
        rows: NDArray[np.int64],
        sentence: str,
        verdicts: Verdicts,
    ) -> None:
        for row in rows.tolist():
            letter = DeadLetter(row, "schema_does_not_fit", sentence, schema_id)
            verdicts.refuse(letter)

    def _refuse_unknown(
        self,
        schema_id: int,
        rows: NDArray[np.int64],
        records: Records,
        verdicts: Verdicts,
    ) -> None:
        for row in rows.tolist():
            place = int(records.partitions[row]), int(records.timestamps[row])
            if self._grace is not None and self._grace.holds(schema_id, *place):
                verdicts.held[row] = f"The registry does not know schema {schema_id}."
            else:
                verdicts.refuse(_unknown(row, schema_id))


BAD_HEAD = b"\xff" * FRAME
OTHER = "the schema does not have against which the configuration was checked."


def _unknown(row: int, schema_id: int) -> DeadLetter:
    sentence = f"There is no schema with id {schema_id}."
    return DeadLetter(row, "unknown_schema", sentence, schema_id)


def _in_order(events: Events) -> Events:
    """Bring the events of several schemas back into the order of their records."""
    order = np.argsort(events.records)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    items = events.items
    if items is not None:
        owners = place[items.events]
        by_owner = np.argsort(owners, kind="stable")
        items = type(items)(
            owners[by_owner], items.index[by_owner], items.operands[by_owner]
        )
    return Events(
        events.records[order], events.identity[order], events.operands[order], items
    )
