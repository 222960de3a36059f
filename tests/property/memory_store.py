"""A store in memory with the contract of `PartitionStore`: the fake of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.profiles.store import Changes, Position, Tails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.profiles.seen import Ids


class MemoryStore:
    """Keeps what is committed in dictionaries."""

    def __init__(self) -> None:
        self._profiles: dict[bytes, bytes] = {}
        self._runs: dict[int, list[Ids]] = {}
        self._chunks: set[tuple[int, int]] = set()
        self._notes: dict[str, bytes] = {}
        self._agenda: set[bytes] = set()
        self._suppressed: dict[bytes, int] = {}
        self.position: Position | None = None
        self.tails = Tails()

    def close(self) -> None:
        """Keep everything: there is nothing to close."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read profiles by key."""
        return [self._profiles.get(key) for key in keys]

    def count(self) -> int:
        """Count the profiles."""
        return len(self._profiles)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Walk all profiles by key."""
        yield from sorted(self._profiles.items())

    def page(self, first: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """List profiles by key from `first` on."""
        return [pair for pair in self.items() if pair[0] >= first][:most]

    def meta(self, name: str) -> bytes | None:
        """Read a note."""
        return self._notes.get(name)

    def note(self, name: str, value: bytes) -> None:
        """Keep a note."""
        self._notes[name] = value

    def chunks_before(self, bucket: int) -> list[tuple[int, int]]:
        """List chunks of older buckets."""
        return sorted(chunk for chunk in self._chunks if chunk[0] < bucket)

    def buckets(self) -> list[int]:
        """List the buckets that have ids."""
        return sorted(self._runs)

    def runs_of(self, bucket: int) -> Iterator[Ids]:
        """Give one bucket's sorted runs."""
        yield from self._runs.get(bucket, [])

    def commit(self, changes: Changes) -> None:
        """Put one transaction's changes."""
        self._profiles.update(changes.profiles)
        for key in changes.gone:
            self._profiles.pop(key, None)
        for chunk, ids in changes.seen.items():
            if chunk not in self._chunks:
                self._chunks.add(chunk)
                self._runs.setdefault(chunk[0], []).append(ids.sorted())
        self._chunks -= set(changes.forgotten)
        self._agenda -= set(changes.settled)
        self._agenda |= set(changes.agenda)
        for key, at in changes.suppressed.items():
            self._suppressed.pop(key, None)
            if at is not None:
                self._suppressed[key] = at
        self.position = changes.position or self.position
        self.tails = changes.tails or self.tails

    def drop_buckets_before(self, bucket: int) -> None:
        """Delete older buckets."""
        for old in [one for one in self._runs if one < bucket]:
            del self._runs[old]

    def agenda(self, first: bytes, beyond: bytes, most: int) -> list[bytes]:
        """List entries of the agenda in order."""
        return sorted(e for e in self._agenda if first <= e < beyond)[:most]

    def suppressed(self) -> dict[bytes, int]:
        """Give when visitors were erased."""
        return dict(self._suppressed)

    def drop_agenda(self) -> None:
        """Delete all of the agenda."""
        self._agenda.clear()
