"""Debian packages unpacked into the user's cache folder, without root.

For programs that PyPI does not have: Prometheus and Chromium. Only what `apt-get` of
this machine would install itself, checked by it; nothing outside the folder changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.errors import SandboxError
from consumer.sandbox.jars import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMETHEUS: Final = ("prometheus",)
ALERTMANAGER: Final = ("prometheus-alertmanager",)
CHROMIUM: Final = ("chromium", "fonts-roboto-unhinted")
_WHAT_TO_DO: Final = "Observing needs Debian or Ubuntu with working package sources."
_SECONDS: Final = 600


def unpacked(packages: Sequence[str], *, with_dependencies: bool = False) -> Path:
    """Return the folder that the packages are unpacked in; the first call downloads.

    With `with_dependencies`, everything is unpacked that is not installed yet.
    SandboxError says what is missing on this machine.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise SandboxError(f"There is no {tool} here.", _WHAT_TO_DO)
    wanted = _needed(packages) if with_dependencies else tuple(packages)
    name = sha256("\n".join(wanted).encode()).hexdigest()[:12]
    folder = cache_folder() / f"debian-{packages[0]}-{name}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        archives, root = Path(work) / "archives", Path(work) / "root"
        archives.mkdir()
        _run(["apt-get", "download", *wanted], archives)
        for archive in sorted(archives.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(root)], archives)
        try:
            root.rename(folder)
        except OSError:  # somebody else was faster
            if not folder.is_dir():
                raise
    return folder


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which a program below `root` finds its libraries."""
    libraries = sorted({str(path.parent) for path in root.glob("usr/lib/**/*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def _needed(packages: Sequence[str]) -> tuple[str, ...]:
    """Ask apt what it would install, without installing it."""
    plan = _run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", *packages],
        Path("/"),
    )
    lines = (line.split() for line in plan.splitlines())
    planned = {words[1] for words in lines if words and words[0] == "Inst"}
    return tuple(sorted(planned | set(packages)))


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{command[0]} did not end.", _WHAT_TO_DO) from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        what = " ".join(command[:2])
        raise SandboxError(f"`{what}` failed, it says: {said}", _WHAT_TO_DO)
    return done.stdout
