"""The state directory: one owner, one id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import StateDirectoryError
from consumer.profiles.directory import StateDirectory
from consumer.profiles.store import Changes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_replica_id_stays_until_renewed(tmp_path: Path) -> None:
    """A restart finds its id again; a renewed one replaces it for good."""
    with StateDirectory(tmp_path, "shop") as first:
        named = first.replica_id
    with StateDirectory(tmp_path, "shop") as second:
        assert second.replica_id == named
        renewed = second.renew_replica_id()
    with StateDirectory(tmp_path, "shop") as third:
        assert third.replica_id == renewed != named


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """A second process is told so; after the first closes it may have it."""
    with (
        StateDirectory(tmp_path, "shop"),
        pytest.raises(StateDirectoryError, match="Another process"),
    ):
        StateDirectory(tmp_path, "shop")
    StateDirectory(tmp_path, "shop").close()


def test_a_directory_of_another_application_is_refused(tmp_path: Path) -> None:
    """Both applications are named, and the directory stays usable by its own."""
    StateDirectory(tmp_path, "shop").close()
    with pytest.raises(StateDirectoryError, match=r"application shop.*not to other"):
        StateDirectory(tmp_path, "other")
    StateDirectory(tmp_path, "shop").close()


def test_a_discarded_store_is_empty(tmp_path: Path) -> None:
    """What is discarded is gone, other partitions stay."""
    with StateDirectory(tmp_path, "shop") as directory:
        for number in (0, 1):
            with directory.open(number) as store:
                store.commit(Changes(profiles=[(bytes(16), b"x")]))
        directory.discard(0)
        with directory.open(0) as gone, directory.open(1) as there:
            assert (gone.count(), there.count()) == (0, 1)


def _cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def _overwrite_the_head(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xaa" * 8_192)


def _zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _overwrite_the_head, _zero, _empty])
def test_a_damaged_store_is_made_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """It opens empty, to be filled from the topics; it does not end the process."""
    profiles = [(n.to_bytes(16, "big"), b"profile" * 40) for n in range(3_000)]
    with StateDirectory(tmp_path, "shop") as directory:
        with directory.open(0) as store:
            store.commit(Changes(profiles=profiles))
        damage(tmp_path / "partition-0" / "data.mdb")
        with directory.open(0) as store:
            assert store.count() == 0
            store.commit(Changes(profiles=profiles))
            assert store.count() == len(profiles)
