"""The files around the code agree with each other and can be shared."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from consumer import __version__
from consumer.sandbox import lock_jars
from consumer.sandbox.jars import read_lock

_ROOT = Path(__file__).parents[2]
_LOCKS = [*_ROOT.glob("requirements*.lock"), *_ROOT.glob("consumer/sandbox/*.lock")]


def test_the_version_is_the_projects() -> None:
    """`consumer.__version__` is what `pyproject.toml` releases."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["version"] == __version__


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda path: path.name)
def test_locks_hold_no_addresses(lock: Path) -> None:
    """A lock says what, never from where: it works with every mirror."""
    text = lock.read_text("utf-8")

    assert "://" not in text
    assert not re.search(
        r"^--(index-url|extra-index-url|find-links)", text, re.MULTILINE
    )


@pytest.mark.parametrize(
    "lock", sorted(_ROOT.glob("requirements*.lock")), ids=lambda path: path.name
)
def test_every_locked_requirement_has_its_hashes(lock: Path) -> None:
    """Nothing is installed whose content was not locked."""
    text = lock.read_text("utf-8").replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if re.match(r"\w", line)]

    assert requirements
    assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_kafkas_lock_holds_what_it_was_made_for() -> None:
    """The roots are in the lock at their versions, each jar with a checksum."""
    jars = read_lock()

    assert {":".join(root) for root in lock_jars.ROOTS} <= {
        jar.coordinate for jar in jars
    }
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)
