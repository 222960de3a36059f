"""The state directory: one store a partition, one owner, one transactional id.

A lock forbids two processes on one directory; the id in it names this replica's
transactions, so that a restarted process fences its own past.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import structlog

from consumer.errors import StateDirectoryError
from consumer.profiles.store import PartitionStore, StoreDamaged

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

OWNER = "application"
REPLICA = "replica-id"
LOCK = "lock"


class StateDirectory:
    """A locked directory; a context manager that unlocks it."""

    def __init__(
        self, path: Path, application: str, *, mapped: int | None = None
    ) -> None:
        """Lock the directory, making it if need be; `mapped` is for its stores.

        Raises `StateDirectoryError` when it cannot be written, is in use by another
        process, or belongs to another application.
        """
        self.path = path
        self._mapped = mapped
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StateDirectoryError(
                f"The state directory {path} cannot be written: {error.strerror}.",
                "Make it writable, or name another in [aggregate] state_dir.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StateDirectoryError(
                f"Another process uses the state directory {path}.",
                "Stop it, or give this one its own [aggregate] state_dir.",
            ) from error
        owner = self._remembered(OWNER, application)
        if owner != application:
            self.close()
            raise StateDirectoryError(
                f"The state directory {path} belongs to the application {owner}, "
                f"not to {application}.",
                "Give each application its own [aggregate] state_dir.",
            )
        self.replica_id = self._remembered(REPLICA, uuid.uuid4().hex)

    def __enter__(self) -> Self:
        """Give the locked directory."""
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock it."""
        self.close()

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock)

    def open(self, partition: int, of: str = "") -> PartitionStore:
        """Open the store of a partition, empty if it is new or was damaged.

        `of` names whose it is, where it is not the service's own.
        """
        path = self._store_path(partition, of)
        try:
            return PartitionStore(path, mapped=self._mapped)
        except StoreDamaged as damage:
            log.warning(
                "the store is damaged: rebuilt from the topics",
                partition=partition,
                what=str(damage),
            )
            self.discard(partition, of)
            return PartitionStore(path, mapped=self._mapped)

    def discard(self, partition: int, of: str = "") -> None:
        """Delete the store of a partition: it is rebuilt from the topics."""
        shutil.rmtree(self._store_path(partition, of), ignore_errors=True)
        if of:
            with suppress(OSError):  # others are still in it
                (self.path / of).rmdir()

    def unwritten_since(self, when: float) -> list[int]:
        """List the service's own stores that were last written before `when`.

        In seconds since the epoch; none of them may be open.
        """
        found = []
        for file in self.path.glob("partition-*/data.mdb"):
            number = file.parent.name.removeprefix("partition-")
            if number.isdecimal() and file.stat().st_mtime < when:
                found.append(int(number))
        return sorted(found)

    def renew_replica_id(self) -> str:
        """Take a fresh id: this one is in use elsewhere (a copied directory)."""
        self.replica_id = uuid.uuid4().hex
        self._write(REPLICA, self.replica_id)
        return self.replica_id

    def _store_path(self, partition: int, of: str) -> Path:
        return self.path / of / f"partition-{partition}"

    def _remembered(self, name: str, fresh: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            self._write(name, fresh)
            return fresh

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole, and durably."""
        partial = self.path / f"{name}.new"
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path / name)
        except OSError as error:
            raise StateDirectoryError(
                f"The state directory {self.path} cannot be written: {error.strerror}.",
                "Make it writable, or name another in [aggregate] state_dir.",
            ) from error
