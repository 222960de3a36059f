"""A batch of raw records to events: framing, codec by schema id, mapping.

Enters: `Records`. Leaves: `Events` in the order of the records; tombstones are
marked filtered and everything else that is no event is a dead letter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import polars as pl
import structlog

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.events.framing import UNREADABLE, unknown
from consumer.events.resolve import Resolution, Unfit, resolution
from consumer.frames import DeadLetter, Events, Outcome
from consumer.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.events.avro_types import Type
    from consumer.events.codecs import Decoded
    from consumer.events.framing import Framing, SchemaId
    from consumer.events.grace import SchemaGrace
    from consumer.events.mapping import Mapper
    from consumer.frames import Records, Verdicts

Part: TypeAlias = "tuple[NDArray[np.int64], pl.DataFrame]"

log = structlog.get_logger(__name__)


class Codec(Protocol):
    """Decodes records of one schema into columns of one type."""

    # The type of a record, with its columns; whether a fast way serves it.
    type: Type
    fast: bool

    def sample(self, count: int = ...) -> list[bytes]:
        """Make up a few framed records, always the same ones."""
        ...

    def sample_frame(self) -> pl.DataFrame:
        """Give made-up events as columns, to check expressions against."""
        ...

    def decode(self, records: Sequence[bytes]) -> Decoded:
        """Decode framed records; refused ones are reported, never raised."""
        ...


class Schemas(Protocol):
    """Where writer schemas come from."""

    @property
    def framing(self) -> Framing:
        """Where a record says its schema."""
        ...

    def codec(self, schema_id: SchemaId) -> Codec | None:
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

    def name(self, schema_id: SchemaId) -> str:
        """Name a schema for people, with its version where that is known."""
        ...


class Decoder:
    """Decodes and maps batches by the writer schemas of one source."""

    def __init__(
        self,
        schemas: Schemas,
        mapper: Mapper,
        grace: SchemaGrace | None = None,
    ) -> None:
        """Decode by `schemas`, map by `mapper`.

        Without `grace`, records of a schema that does not exist wait for none.
        """
        self._schemas = schemas
        self._mapper = mapper
        self._grace = grace
        self._framing = schemas.framing
        self._resolutions: dict[SchemaId, Resolution | str] = {}
        self._unusable: dict[SchemaId, str] = {}

    def decode(self, records: Records, verdicts: Verdicts) -> Events | None:
        """Decode a batch; None where no record is an event.

        Where `verdicts.held` has rows, what is behind them in their partitions must be
        left alone.
        """
        packed = Packed.of(records.values)
        ids = self._framing.ids(records, packed, verdicts)
        parts: list[Part] = []
        for number in _different(ids):
            if number == UNREADABLE:
                continue
            rows = np.flatnonzero(ids == number)
            schema_id = self._framing.schema_id(number)
            part = self._decode_by(schema_id, rows, records, packed, verdicts)
            if part is not None and len(part[0]):
                parts.append(part)
        if not parts:
            return None
        mapped = self._mapper.map(*_joined(parts))
        verdicts.mark(np.array(mapped.filtered, np.int64), Outcome.FILTERED)
        for letter in mapped.dead_letters:
            schema_id = self._framing.schema_id(int(ids[letter.row]))
            verdicts.refuse(replace(letter, schema_id=_number(schema_id)))
        return mapped.events if len(mapped.events) else None

    def _decode_by(
        self,
        schema_id: SchemaId,
        rows: NDArray[np.int64],
        records: Records,
        packed: Packed,
        verdicts: Verdicts,
    ) -> Part | None:
        """Make columns of one schema's records, as the configuration reads them."""
        try:
            codec = self._schemas.codec(schema_id)
        except SchemaError as error:
            self._refuse_unusable(schema_id, rows, error, verdicts)
            return None
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
        number = _number(schema_id)
        decoded = codec.decode(self._framing.framed(packed, rows))
        for refusal in decoded.refusals:
            row = int(rows[refusal.row])
            letter = DeadLetter(row, refusal.reason, refusal.sentence, number)
            verdicts.refuse(letter)
        rows, columns = rows[decoded.rows], decoded.columns
        columns, other = resolution.apply(columns)
        frame = pl.DataFrame(columns)
        if other.any():
            sentence = f"A value is of a type that {OTHER}"
            self._refuse_unfit(schema_id, rows[other], sentence, verdicts)
            rows, frame = rows[~other], frame.filter(~other)
        return rows, frame

    def _resolution(self, schema_id: SchemaId, codec: Codec) -> Resolution | str:
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
            log.error("a schema does not fit", schema_id=str(schema_id), what=made)
        return self._resolutions.setdefault(schema_id, made)

    def _refuse_unfit(
        self,
        schema_id: SchemaId,
        rows: NDArray[np.int64],
        sentence: str,
        verdicts: Verdicts,
    ) -> None:
        number = _number(schema_id)
        for row in rows.tolist():
            letter = DeadLetter(row, "schema_does_not_fit", sentence, number)
            verdicts.refuse(letter)

    def _refuse_unusable(
        self,
        schema_id: SchemaId,
        rows: NDArray[np.int64],
        error: SchemaError,
        verdicts: Verdicts,
    ) -> None:
        """Refuse the records of a schema that has no columns; it is told of once.

        The schema is looked at again with the next batch: a file may be mended.
        """
        what = (
            f"{self._schemas.name(schema_id)} cannot be read: {error.what} "
            f"{error.remedy} Then replay the dead letters."
        )
        if self._unusable.get(schema_id) != what:
            self._unusable[schema_id] = what
            log.error("a schema cannot be used", schema_id=str(schema_id), what=what)
        number = _number(schema_id)
        for row in rows.tolist():
            verdicts.refuse(DeadLetter(row, "schema_unusable", what, number))

    def _refuse_unknown(
        self,
        schema_id: SchemaId,
        rows: NDArray[np.int64],
        records: Records,
        verdicts: Verdicts,
    ) -> None:
        for row in rows.tolist():
            place = int(records.partitions[row]), int(records.timestamps[row])
            if self._grace is not None and self._grace.holds(schema_id, *place):
                verdicts.held[row] = f"The registry does not know schema {schema_id}."
            else:
                verdicts.refuse(unknown(row, schema_id))


OTHER = "the schema does not have against which the configuration was checked."


def _number(schema_id: SchemaId) -> int | None:
    return schema_id if isinstance(schema_id, int) else None


def _different(ids: NDArray[np.int64]) -> list[int]:
    """Give the different ids, nearly always one, in order."""
    if len(ids) and (ids == ids[0]).all():
        return [int(ids[0])]
    found: list[int] = np.unique(ids).tolist()
    return found


def _joined(parts: list[Part]) -> Part:
    """Put the columns of several schemas behind each other."""
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([rows for rows, _ in parts])
    # They are put in order next: out of several pieces that takes thirty times as long.
    return rows, pl.concat([frame for _, frame in parts], rechunk=True)
