"""The local store of one partition: profiles, ids seen, positions, in LMDB.

Everything that one Kafka transaction changed enters in one LMDB transaction, after
Kafka's commit. LMDB is opened without meta sync: a commit costs one fdatasync, is
never torn, and a crash loses at worst the last one, which the tails of the topics
bring back. The map grows by itself.
"""

from __future__ import annotations

import json
import os
import resource
import struct
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lmdb

from consumer.errors import PartitionHalt
from consumer.frames import Tally
from consumer.profiles.seen import Ids
from consumer.profiles.stream_time import StreamClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.profiles.table import Dirty, Pairs

SMALLEST_MAP = 1 << 26
STORE_FORMAT = 1
STATM = Path("/proc/self/statm")
# Eight runs of one tier make one of the next: an id is written a few times in all.
RUNS_A_TIER = 8
# Reads between two looks at what is mapped: the system maps 64 kB at a touch.
AT_ONCE = 256
PAGE = resource.getpagesize()
RUN = struct.Struct(">QBQ")
CHUNK = struct.Struct(">QQ")
WHEN = struct.Struct(">q")
DAMAGES = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


class StoreDamaged(Exception):  # noqa: N818 - it says what happened
    """A store's files are not what LMDB wrote; the topics make a new one."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition's input has been folded.

    `topic_id` is the input topic's; `next_offset` the next record to read;
    `stream_time`, `doubts` and `doubted` are those of its `clock`, see `stream_time`;
    `tally` how many of the last records were dead letters; `day` the day that its owner
    took for today, 0 without windows. `began` is the first record that was folded
    into the profiles, None where that was not noted. While profiles are joined to what
    a rebuild has computed, `rebuild` is its id and `joined_at` the next record at that
    time.
    """

    topic_id: str
    next_offset: int
    stream_time: int
    generation: int
    tally: Tally = field(default_factory=Tally)
    day: int = 0
    began: int | None = None
    rebuild: str = ""
    joined_at: int = 0
    doubts: int = 0
    doubted: int = 0

    @property
    def clock(self) -> StreamClock:
        """What time it is by the records."""
        return StreamClock(self.stream_time, self.doubts, self.doubted)

    def to_json(self) -> bytes:
        """Write the value of the `position` record of the state topic."""
        return json.dumps(asdict(self) | {"format": STORE_FORMAT}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote."""
        found: dict[str, Any] = json.loads(data)
        found.pop("format", None)
        return cls(**found | {"tally": Tally(**found.get("tally", {}))})


@dataclass(frozen=True, slots=True)
class Tails:
    """The next offsets of `profiles` and `state` that the store has not applied."""

    profiles: int = 0
    state: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit puts into the store.

    `agenda` has entries as `profiles.agenda` makes them, `settled` those to delete.
    `suppressed` has when visitors were erased, in milliseconds, by key; None forgets.
    `followed` is when the store last had all that its topics hold.
    """

    profiles: Pairs | Dirty | Sequence[tuple[bytes, bytes]] = ()
    gone: Sequence[bytes] = ()
    seen: Mapping[tuple[int, int], Ids] = field(default_factory=dict)
    forgotten: Sequence[tuple[int, int]] = ()
    agenda: Sequence[bytes] = ()
    settled: Sequence[bytes] = ()
    suppressed: Mapping[bytes, int | None] = field(default_factory=dict)
    position: Position | None = None
    tails: Tails | None = None
    followed: float | None = None


class PartitionStore:
    """One LMDB environment; a context manager that closes it.

    Raises `StoreDamaged` where its files are no store, `PartitionHalt` where it cannot
    be opened or a write fails (a full disk): the committed tail stays in the topics.
    """

    def __init__(self, path: Path, *, mapped: int | None = None) -> None:
        """Open or create the store in the directory `path`.

        Where `mapped` is given, memory is bounded: a store keeps none of what a write
        took, and lets its pages go before it reads on, where the process has more bytes
        of files in its memory. The system still has them in its cache.
        """
        self.path = path
        self._mapped = mapped
        self._open()

    def _open(self) -> None:
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            size = max(SMALLEST_MAP, 2 * _file_size(path / "data.mdb"))
            self._env = lmdb.open(
                str(path), map_size=size, metasync=False, max_dbs=8, max_readers=8
            )
        except DAMAGES as error:
            raise StoreDamaged(str(error)) from error
        except (lmdb.Error, OSError) as error:
            raise self._cannot_be_opened(error) from error
        try:
            self._check_length()
            self._profiles = self._env.open_db(b"profiles")
            self._runs = self._env.open_db(b"runs")
            self._chunks = self._env.open_db(b"chunks")
            self._meta = self._env.open_db(b"meta")
            self._agenda = self._env.open_db(b"agenda")
            self._suppressed = self._env.open_db(b"suppressed")
            self._run_number = self._last_run_number()
        except DAMAGES as error:
            self._env.close()
            raise StoreDamaged(str(error)) from error
        except (lmdb.Error, OSError) as error:  # a new store is written to
            self._env.close()
            raise self._cannot_be_opened(error) from error
        except StoreDamaged:
            self._env.close()
            raise

    def _cannot_be_opened(self, error: Exception) -> PartitionHalt:
        return PartitionHalt(
            "store_write_failed",
            "Make [aggregate] state_dir writable and free disk space under it, or "
            "delete this folder, and restart: it is rebuilt from the topics.",
            what=f"The store in {self.path} cannot be opened: {error}.",
        )

    def __enter__(self) -> Self:
        """Give the open store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the environment; what was committed stays."""
        self._env.close()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read profiles by key, None where there is none; sorted keys are fastest."""
        found: list[bytes | None] = []
        for begin in range(0, len(keys), AT_ONCE):
            self._let_pages_go()
            with self._env.begin(db=self._profiles) as txn:
                get = txn.get
                found += [get(key) for key in keys[begin : begin + AT_ONCE]]
        self._let_pages_go()  # or each store would keep what it read last
        return found

    def count(self) -> int:
        """Count the profiles."""
        with self._env.begin() as txn:
            return int(txn.stat(self._profiles)["entries"])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Walk all profiles by key."""
        with self._env.begin(db=self._profiles) as txn:
            yield from txn.cursor()

    def page(self, first: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """List up to `most` profiles by key, from `first` on."""
        with self._env.begin(db=self._profiles) as txn:
            cursor = txn.cursor()
            if not cursor.set_range(first):
                return []
            return list(islice(cursor.iternext(), most))

    def meta(self, name: str) -> bytes | None:
        """Read a note kept beside the profiles."""
        with self._env.begin(db=self._meta) as txn:
            found: bytes | None = txn.get(name.encode())
            return found

    def note(self, name: str, value: bytes) -> None:
        """Keep a note beside the profiles."""
        self._write(lambda txn: txn.put(name.encode(), value, db=self._meta))

    @property
    def position(self) -> Position | None:
        """Where the input goes on; None in a store that never had a commit."""
        found = self.meta("position")
        return None if found is None else Position.from_json(found)

    @property
    def tails(self) -> Tails:
        """Where the restore goes on."""
        found = self.meta("tails")
        return Tails() if found is None else Tails(**json.loads(found))

    @property
    def followed(self) -> float | None:
        """When it last had all that its topics hold, in seconds since the epoch.

        None in a store that never did, or is older than this note.
        """
        found = self.meta("followed")
        return None if found is None else float(found)

    def chunks_before(self, bucket: int) -> list[tuple[int, int]]:
        """List the state topic's chunks of ids of buckets below `bucket`."""
        with self._env.begin(db=self._chunks) as txn:
            found = []
            for key in txn.cursor().iternext(values=False):
                chunk = CHUNK.unpack(key)
                if chunk[0] >= bucket:
                    break
                found.append(chunk)
            return found

    def buckets(self) -> list[int]:
        """List the buckets that have ids."""
        with self._env.begin(db=self._runs) as txn:
            keys = txn.cursor().iternext(values=False)
            return sorted({RUN.unpack(key)[0] for key in keys})

    def runs_of(self, bucket: int) -> Iterator[Ids]:
        """Give the sorted runs of ids of one bucket, without copying them.

        A run is good only until the iterator moves on.
        """
        with self._env.begin(db=self._runs, buffers=True) as txn:
            for _, value in _in_bucket(txn.cursor(), bucket):
                yield Ids.from_bytes(value)

    def commit(self, changes: Changes) -> None:
        """Put one transaction's changes, all or nothing."""

        def write(txn: lmdb.Transaction) -> None:
            if changes.profiles:
                cursor = txn.cursor(self._profiles)
                cursor.putmulti(changes.profiles)
            for key in changes.gone:
                txn.delete(key, db=self._profiles)
            for chunk, ids in changes.seen.items():
                if txn.put(CHUNK.pack(*chunk), b"", db=self._chunks, overwrite=False):
                    self._add_run(txn, chunk[0], 0, ids.sorted())
            for chunk in changes.forgotten:
                txn.delete(CHUNK.pack(*chunk), db=self._chunks)
            self._write_agenda(txn, changes)
            self._write_suppressed(txn, changes)
            self._write_meta(txn, changes)

        self._write(write)
        if changes.profiles and self._mapped is not None:
            self._give_back()

    def suppressed(self) -> dict[bytes, int]:
        """Give when visitors were erased, in milliseconds, by key."""
        with self._env.begin(db=self._suppressed) as txn:
            return {bytes(key): WHEN.unpack(at)[0] for key, at in txn.cursor()}

    def _write_meta(self, txn: lmdb.Transaction, changes: Changes) -> None:
        if changes.position is not None:
            txn.put(b"position", changes.position.to_json(), db=self._meta)
        if changes.tails is not None:
            tails = json.dumps(asdict(changes.tails)).encode()
            txn.put(b"tails", tails, db=self._meta)
        if changes.followed is not None:
            txn.put(b"followed", b"%f" % changes.followed, db=self._meta)

    def _write_suppressed(self, txn: lmdb.Transaction, changes: Changes) -> None:
        for key, at in changes.suppressed.items():
            if at is None:
                txn.delete(key, db=self._suppressed)
            else:
                txn.put(key, WHEN.pack(at), db=self._suppressed)

    def _write_agenda(self, txn: lmdb.Transaction, changes: Changes) -> None:
        for entry in changes.settled:
            txn.delete(entry, db=self._agenda)
        if changes.agenda:
            cursor = txn.cursor(self._agenda)
            cursor.putmulti([(entry, b"") for entry in changes.agenda])

    def agenda(self, first: bytes, beyond: bytes, most: int) -> list[bytes]:
        """List up to `most` entries from `first` to before `beyond`, in order."""
        with self._env.begin(db=self._agenda) as txn:
            cursor = txn.cursor()
            found: list[bytes] = []
            if not cursor.set_range(first):
                return found
            for entry in cursor.iternext(values=False):
                if entry >= beyond or len(found) == most:
                    break
                found.append(bytes(entry))
            return found

    def drop_agenda(self) -> None:
        """Delete all of the agenda, to be made anew."""
        self._write(lambda txn: txn.drop(self._agenda, delete=False))

    def drop_buckets_before(self, bucket: int) -> None:
        """Delete the runs of buckets that left the horizon."""

        def write(txn: lmdb.Transaction) -> None:
            cursor = txn.cursor(self._runs)
            found = cursor.first()
            while found and RUN.unpack(cursor.key())[0] < bucket:
                found = cursor.delete()

        self._write(write)

    def _check_length(self) -> None:
        """Refuse a file that was cut: reading beyond its end would end the process."""
        needed = self._needed()
        if (size := _file_size(self.path / "data.mdb")) < needed:
            raise StoreDamaged(f"{size} bytes, where {needed} were written")

    def _needed(self) -> int:
        """Return the bytes of the pages that LMDB counts."""
        pages = int(self._env.info()["last_pgno"]) + 1
        return pages * int(self._env.stat()["psize"])

    def _give_back(self) -> None:
        """Open the store anew: LMDB keeps the pages of its largest write until closed.

        Each partition's were as many as its file has, 4 kB for each profile written.
        """
        self._env.close()
        try:
            self._open()
        except StoreDamaged as damage:
            raise self._cannot_be_opened(damage) from damage

    def _let_pages_go(self) -> None:
        """Map the file anew, which begins with no pages; no transaction may be open."""
        if self._mapped is not None and mapped_bytes() > self._mapped:
            self._env.set_mapsize(self._env.info()["map_size"])

    def _add_run(self, txn: lmdb.Transaction, bucket: int, tier: int, ids: Ids) -> None:
        self._run_number += 1
        key = RUN.pack(bucket, tier, self._run_number)
        txn.put(key, ids.to_bytes(), db=self._runs)
        cursor = txn.cursor(self._runs)
        peers = (
            [
                (found, bytes(value))
                for found, value in _in_bucket(cursor, bucket)
                if RUN.unpack(found)[1] == tier
            ]
            if self._full(txn, bucket, tier)
            else []
        )
        if peers:
            for found, _ in peers:
                txn.delete(found, db=self._runs)
            merged = Ids.concat(Ids.from_bytes(value) for _, value in peers)
            self._add_run(txn, bucket, tier + 1, merged.sorted())

    def _full(self, txn: lmdb.Transaction, bucket: int, tier: int) -> bool:
        cursor = txn.cursor(self._runs)
        count = 0
        found = cursor.set_range(RUN.pack(bucket, tier, 0))
        while found and RUN.unpack(cursor.key())[:2] == (bucket, tier):
            count += 1
            found = cursor.next()
        return count >= RUNS_A_TIER

    def _last_run_number(self) -> int:
        with self._env.begin(db=self._runs) as txn:
            keys = txn.cursor().iternext(values=False)
            return max((RUN.unpack(key)[2] for key in keys), default=0)

    def _write(self, work: Callable[[lmdb.Transaction], object]) -> None:
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    work(txn)
                self._lengthen()
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            except (lmdb.Error, OSError) as error:
                raise PartitionHalt(
                    "store_write_failed",
                    "Free disk space under [aggregate] state_dir and restart; what "
                    "was committed comes back from the topics.",
                    what=f"The store in {self.path} cannot be written: {error}.",
                ) from error
            else:
                return

    def _lengthen(self) -> None:
        """Make the file as long as LMDB counts.

        Pages at its end that a transaction took and freed again are never written.
        """
        path = self.path / "data.mdb"
        if _file_size(path) < (needed := self._needed()):
            os.truncate(path, needed)


def _in_bucket(cursor: lmdb.Cursor, bucket: int) -> Iterator[tuple[bytes, memoryview]]:
    found = cursor.set_range(RUN.pack(bucket, 0, 0))
    while found and RUN.unpack(cursor.key())[0] == bucket:
        yield bytes(cursor.key()), memoryview(cursor.value())
        found = cursor.next()


def mapped_bytes() -> int:
    """Give how much of files this process has in its memory, code included.

    0 where the system does not say, as beside Linux.
    """
    with suppress(OSError):
        return int(STATM.read_bytes().split()[2]) * PAGE
    return 0


def _file_size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
