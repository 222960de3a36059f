r"""Rows on their way to Target: the latest per visitor, in columns, bounded in bytes.

Encoded rows enter, sealed micro-batches leave; acceptance and end of each batch come
back and free its visitors. Pure: no I/O, no clock; used from one thread at a time.

```
            add                seal              accepted            ended
records ---------> waiting ----------> uploading ---------> followed -------> free
                     ^  \ held back: its visitor is in a batch     |
                     |<------------- returned --------------------|
```
Over 300 lines: every way that a row can move touches the same few columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from consumer.target.micro_batch import (
    KEYS,
    READ,
    SCHEMA,
    Limits,
    Sealed,
    encoded_bytes,
    lines,
)
from consumer.target.offsets import Span, next_offsets, span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pyarrow as pa

_COVERED: Final = -1  # origin of a row that supersedes older ones but is not sent
_OVERHEAD: Final = 64  # bytes of a row beside its text, in polars' layout
_HELD: Final = 16  # bytes of a visitor that is held back by an accepted batch
HELD: Final = ("hash", "partition")
_NO_KEYS: Final = pl.DataFrame(schema={key: SCHEMA[key] for key in KEYS})
_AMORTISED: Final = 8  # settle when the fresh rows are this share of the settled ones


@dataclass(slots=True)
class _Batch:
    """A batch whose visitors are held back; rows are kept until it is accepted.

    `visitors` has the columns `HELD`, a row a visitor: millions may be held back, so
    their ids are not kept. Two visitors with one hash only hold each other back.
    """

    visitors: pl.DataFrame
    keys: pl.DataFrame
    rows: pa.LargeBinaryArray | None
    covers: Mapping[int, Span]

    @classmethod
    def of(
        cls,
        keys: pl.DataFrame,
        rows: pa.LargeBinaryArray | None,
        covers: Mapping[int, Span],
    ) -> _Batch:
        visitors = _hashed(keys).select(HELD)
        kept = keys.select(KEYS) if rows is not None else _NO_KEYS
        return cls(visitors, kept, rows, covers)

    @property
    def live(self) -> bool:
        return self.rows is not None

    @property
    def size(self) -> int:
        return _HELD * len(self.visitors) + _OVERHEAD * len(self.keys)


class Pending:
    """The rows that wait and the batches that are under way."""

    def __init__(self, limits: Limits, header_bytes: int) -> None:
        """Hold nothing yet; every file begins with `header_bytes`."""
        self._limits = limits
        self._room = limits.max_bytes - header_bytes
        empty = pl.DataFrame(schema=SCHEMA)
        self._ready = empty
        self._held = empty
        self._fresh: list[pl.DataFrame] = []
        self._unsettled = False  # whether a held row may have become ready
        self._bytes = 0  # of all waiting rows, with their overhead
        self._ready_bytes = 0
        self._fresh_bytes = 0
        self._fresh_rows = 0
        self._opened: float | None = None
        self._batches: dict[int, _Batch] = {}
        self._numbers = 0
        self._seen: dict[int, int] = {}
        self._newer: dict[int, list[pl.Series]] = {}

    @property
    def waiting(self) -> int:
        """Rows that wait, superseded ones included until they are settled."""
        return len(self._ready) + len(self._held) + self._fresh_rows

    @property
    def rows_left(self) -> int:
        """Rows that Target has yet to take: waiting or on their way."""
        self._settle()
        return len(self._live())

    @property
    def size(self) -> int:
        """Bytes of the rows that wait and of the visitors that are held back."""
        return self._bytes + sum(batch.size for batch in self._batches.values())

    @property
    def full(self) -> bool:
        """Whether no more rows may be added until some have left."""
        if self.size >= self._limits.capacity and self._fresh:
            self._settle()
        return self.size >= self._limits.capacity

    def add(self, rows: pl.DataFrame, seen: Mapping[int, int], now: float) -> None:
        """Take rows in the order in which they were read.

        `seen` is the offset after the last record of each partition, whether or not the
        record left a row: tombstones and rejected rows are thereby accounted for.
        """
        self._seen.update(seen)
        if len(rows):
            for partition in self._newer.keys() & seen.keys():
                here = rows.filter(pl.col("partition") == partition)
                self._newer[partition].append(_hashed(here)["hash"])
            self._append(self._mark_covered(rows), now)

    def again(self, rows: pl.DataFrame, origin: int, now: float) -> None:
        """Take rows of a failed batch, read again, unless a newer row waits or comes.

        `rows` holds each visitor's latest record, at least of those added so far; one
        that was not added yet is left to come in its turn.
        """
        self._settle()
        seen = pl.col("partition").replace_strict(
            self._seen, default=0, return_dtype=pl.Int64
        )
        waiting = pl.concat([self._ready, self._held])
        rows = (
            rows.filter(pl.col("offset") < seen)
            .join(waiting, on="visitor", how="anti", maintain_order="left")
            .with_columns(pl.lit(origin, pl.Int32).alias("origin"))
        )
        if len(rows):
            self._append(rows, now)

    def watch(self, partition: int) -> int | None:
        """Note from now on who gets a newer row there, for `offer`; until `unwatch`.

        Returns the offset after the last record taken in, None if there is none yet:
        then nothing is noted.
        """
        if partition in self._seen:
            self._newer[partition] = []
        return self._seen.get(partition)

    def unwatch(self, partition: int) -> None:
        """Note nothing more."""
        self._newer.pop(partition, None)

    def offer(self, partition: int, rows: pl.DataFrame, origin: int, now: float) -> int:
        """Take rows that were their visitors' latest when `watch` was called.

        Those that a newer row has followed since are left out: it was taken, or will
        be. Returns how many were left in.
        """
        if noted := self._newer.get(partition):
            newer = pl.concat(noted).unique()
            self._newer[partition] = [newer]
            rows = _hashed(rows).filter(~pl.col("hash").is_in(newer.implode()))
            rows = rows.drop("hash")
        self.again(rows, origin, now)
        return len(rows)

    def due_in(self, now: float) -> float | None:
        """Return seconds until a batch is to be sealed; None while nothing can be."""
        if self._opened is None:
            return None
        if self._reached():
            return 0.0
        return max(0.0, self._opened + self._limits.max_age - now)

    def seal(self, now: float, *, at_once: bool = False) -> Sealed | None:
        """Seal a micro-batch if a limit is reached; None otherwise.

        `at_once` seals whatever can be sent.
        """
        due = self.due_in(now)
        if due is None or (due > 0 and not at_once):
            return None
        self._settle()
        if self._ready.is_empty():
            self._opened = None
            return None
        aged = self._opened is not None and now - self._opened >= self._limits.max_age
        if not (aged or at_once or self._reached()):
            return None
        taken, self._ready = self._split()
        self._opened = now if len(self._ready) else None
        self._measure()
        return self._seal([taken])[0]

    def divide(self, number: int) -> list[Sealed]:
        """Make several batches of one that Target did not take.

        One for each of its partitions, or two halves if all rows are of one partition;
        none if a single row is left, which then stays under way as it was.
        """
        batch = self._batches[number]
        rows = batch.keys.with_columns(pl.Series("row", batch.rows))
        parts = rows.partition_by("partition", maintain_order=True)
        if len(parts) == 1:
            half = len(rows) // 2
            parts = [rows.head(half), rows.slice(half)]
        if not all(len(part) for part in parts):
            return []
        del self._batches[number]
        return self._seal(parts)

    def hold(self, keys: pl.DataFrame, covers: Mapping[int, Span]) -> int:
        """Hold back the visitors of a batch that an earlier owner had accepted.

        Records within an exact span are not sent again. Returns the batch's number.
        """
        number = self.new_number()
        exact = {part: found for part, found in covers.items() if found.exact}
        self._batches[number] = _Batch.of(keys, None, exact)
        self._unsettled = True
        return number

    def uncover(self, numbers: Collection[int]) -> dict[int, int]:
        """Send records within the spans of held batches after all, from now on.

        Returns `seen`: what was read before that offset has been left out, and is the
        caller's to send again. Visitors stay held back.
        """
        for number in numbers:
            if number in self._batches:
                self._batches[number].covers = {}
        return self.seen

    @property
    def seen(self) -> dict[int, int]:
        """The offset after the last record taken in, by partition."""
        return dict(self._seen)

    def new_number(self) -> int:
        """Return a number that no batch has; it may serve as an origin."""
        self._numbers += 1
        return self._numbers

    def accepted(self, number: int) -> None:
        """Drop the rows of a batch that Target took; its visitors stay held back."""
        batch = self._batches[number]
        batch.rows, batch.keys = None, _NO_KEYS

    def returned(self, number: int, now: float) -> None:
        """Put the rows of a batch that Target did not take back among the waiting."""
        batch = self._batches.pop(number)
        if batch.rows is not None and len(batch.keys):
            rows = batch.keys.with_columns(pl.Series("row", batch.rows))
            self._ready = pl.concat([rows, self._ready])
            self._open(now)
        self._unsettled = True
        self._settle()

    def ended(self, number: int, now: float) -> None:
        """Free the visitors of a batch; a row that waited for one may be sealed now."""
        self._batches.pop(number, None)
        if len(self._held):
            self._unsettled = True
            self._open(now)

    def discard(self, partition: int, offset: int) -> None:
        """Forget a waiting row that is not to be sent."""
        self._settle()
        stays = (pl.col("partition") != partition) | (pl.col("offset") != offset)
        self._ready = self._ready.filter(stays)
        self._held = self._held.filter(stays)
        self._measure()

    def drop(self, partitions: Collection[int]) -> None:
        """Forget partitions that are no longer ours, whatever was under way."""
        stays = ~pl.col("partition").is_in(list(partitions))
        self._settle()
        self._ready = self._ready.filter(stays)
        self._held = self._held.filter(stays)
        for batch in self._batches.values():
            if batch.rows is not None:
                kept = batch.keys["partition"].is_in(list(partitions)).not_()
                batch.rows = batch.rows.filter(kept.to_arrow())
                batch.keys = batch.keys.filter(kept)
            batch.visitors = batch.visitors.filter(stays)
            batch.covers = {
                partition: covered
                for partition, covered in batch.covers.items()
                if partition not in partitions
            }
        for partition in partitions:
            self._seen.pop(partition, None)
            self.unwatch(partition)
        self._unsettled = True
        self._settle()

    def next_offsets(self) -> dict[int, int]:
        """Return the offset to commit for each partition that was read from."""
        self._settle()
        live = self._live()
        return next_offsets(self._seen, live.filter(pl.col("origin") == READ))

    def open_origins(self) -> dict[int, int]:
        """Return how many rows of each origin but `READ` are still to be accepted."""
        self._settle()
        again = self._live().filter(pl.col("origin") != READ)
        return dict(again.group_by("origin").len().iter_rows())

    def _live(self, *, but: int = -1) -> pl.DataFrame:
        """Return the keys of every row that is neither accepted nor superseded.

        A row on its way stays, even where a newer one waits, so that a batch of unknown
        fate lies beyond what is committed. The rows of batch `but` are left out.
        """
        uploading = [
            batch.keys
            for number, batch in self._batches.items()
            if batch.live and number != but
        ]
        waiting = [self._ready.select(KEYS), self._held.select(KEYS)]
        return pl.concat([*waiting, *uploading])

    def _append(self, rows: pl.DataFrame, now: float) -> None:
        self._fresh.append(rows)
        size = encoded_bytes(rows)
        self._fresh_rows += len(rows)
        self._fresh_bytes += size
        self._bytes += size + _OVERHEAD * len(rows)
        self._open(now)

    def _open(self, now: float) -> None:
        if self._opened is None:
            self._opened = now

    def _reached(self) -> bool:
        """Whether rows or bytes may have reached a limit.

        Fresh rows may turn out to be superseded or held back, so they count only once
        there are enough of them to be worth settling.
        """
        rows, size = len(self._ready), self._ready_bytes
        if self._fresh_rows * _AMORTISED >= rows + len(self._held):
            rows, size = rows + self._fresh_rows, size + self._fresh_bytes
        return rows >= self._limits.max_rows or size >= self._room

    def _mark_covered(self, rows: pl.DataFrame) -> pl.DataFrame:
        covers = [batch.covers for batch in self._batches.values() if batch.covers]
        if not covers:
            return rows
        partitions = rows["partition"].to_numpy()
        offsets = rows["offset"].to_numpy()
        covered = np.zeros(len(rows), np.bool_)
        for spans in covers:
            for partition, found in spans.items():
                covered |= (partitions == partition) & found.holds(offsets)
        if not covered.any():
            return rows
        origin = np.where(covered, _COVERED, rows["origin"].to_numpy())
        return rows.with_columns(pl.Series("origin", origin.astype(np.int32)))

    def _settle(self) -> None:
        """Keep each visitor's newest row and tell ready rows from those held back."""
        if not self._fresh and not self._unsettled:
            return
        rows = pl.concat([self._ready, self._held, *self._fresh])
        self._fresh = []
        self._unsettled = False
        # in the order of first arrival, so that a busy visitor does not lose its turn
        rows = rows.group_by("visitor", maintain_order=True).agg(pl.all().last())
        rows = rows.filter(pl.col("origin") != _COVERED)
        if self._batches:
            busy = pl.concat([batch.visitors for batch in self._batches.values()])
            hashed = _hashed(rows)
            held = hashed["hash"].is_in(busy["hash"].implode())
            self._held = rows.filter(held)
            rows = rows.filter(~held)
        else:
            self._held = rows.clear()
        self._ready = rows
        self._measure()

    def _measure(self) -> None:
        self._fresh_rows = 0
        self._fresh_bytes = 0
        self._ready_bytes = encoded_bytes(self._ready)
        rows = len(self._ready) + len(self._held)
        self._bytes = self._ready_bytes + encoded_bytes(self._held) + _OVERHEAD * rows

    def _split(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Cut off the oldest rows that one file can take, but at least one."""
        sizes = self._ready["row"].bin.size().cast(pl.Int64).cum_sum().to_numpy()
        count = int(np.searchsorted(sizes, self._room, side="right"))
        count = max(1, min(count, self._limits.most_rows))
        return self._ready.head(count), self._ready.slice(count)

    def _seal(self, parts: list[pl.DataFrame]) -> list[Sealed]:
        """Put the parts under way, each with the offsets that it accounts for."""
        numbers = [self.new_number() for _ in parts]
        for number, part in zip(numbers, parts, strict=True):
            self._batches[number] = _Batch.of(part, lines(part), {})
        return [self._sealed(number) for number in numbers]

    def _sealed(self, number: int) -> Sealed:
        keys, rows = self._batches[number].keys, self._batches[number].rows
        others = self._live(but=number)
        spans = {}
        for partition in keys["partition"].unique().to_list():
            here = pl.col("partition") == partition
            mine, beside = keys.filter(here)["offset"], others.filter(here)["offset"]
            spans[partition] = span(mine.to_numpy(), beside.to_numpy())
        origins = frozenset(keys["origin"].unique().to_list()) - {READ}
        return Sealed(number, keys, rows, spans, origins)


def _hashed(rows: pl.DataFrame) -> pl.DataFrame:
    """Add each visitor's hash, equal within this process."""
    return rows.with_columns(pl.col("visitor").hash().alias("hash"))
