"""Debian's packages are unpacked whole or not at all, and a sentence says why not."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from consumer.errors import SandboxError
from consumer.sandbox.alertmanager import Alertmanager
from consumer.sandbox.debian import unpacked

if TYPE_CHECKING:
    from pathlib import Path

DOWNLOAD = 'for name in "$@"; do :; done; echo archive > "$name.deb"'
EXTRACT = 'mkdir -p "$3/usr/bin"; cp "$2" "$3/usr/bin/tool"'
FAILS = "echo 'E: Unable to locate package' >&2; exit 100"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools that are the only ones of Debian's here, and an empty cache."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "mkdir", "cp"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    """Put a tool there."""
    path = folder / name
    path.write_text(f"#!{folder}/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


@pytest.mark.usefixtures("tools")
def test_without_debians_tools_it_says_so() -> None:
    """A Mac's user learns what is needed, and sees no traceback."""
    with pytest.raises(SandboxError, match="There is no apt-get here") as caught:
        unpacked(("prometheus",))
    assert "Debian or Ubuntu" in str(caught.value)


def test_a_failure_is_told_in_the_tools_own_words(tools: Path, tmp_path: Path) -> None:
    """Nothing half-done is left in the cache, so the next call tries again."""
    tool(tools, "dpkg-deb", EXTRACT)
    tool(tools, "apt-get", FAILS)
    with pytest.raises(SandboxError, match="Unable to locate package"):
        unpacked(("prometheus",))
    assert list((tmp_path / "cache" / "pos-consumer").iterdir()) == []
    tool(tools, "apt-get", DOWNLOAD)
    root = unpacked(("prometheus",))
    assert (root / "usr/bin/tool").read_text("utf-8") == "archive\n"


def test_what_is_unpacked_is_not_fetched_again(tools: Path) -> None:
    """It works without a network from then on."""
    tool(tools, "dpkg-deb", EXTRACT)
    tool(tools, "apt-get", DOWNLOAD)
    root = unpacked(("prometheus",))
    tool(tools, "apt-get", FAILS)
    assert unpacked(("prometheus",)) == root


def test_alertmanager_looks_for_its_files_where_they_were_unpacked(
    tools: Path, tmp_path: Path
) -> None:
    """The folder that Debian has built in is replaced by one of equal length."""
    program = "default=/usr/share/prometheus/alertmanager/default.tmpl"
    extract = (
        f"mkdir -p $3/usr/bin; echo {program} > $3/usr/bin/prometheus-alertmanager"
    )
    tool(tools, "dpkg-deb", extract)
    tool(tools, "apt-get", DOWNLOAD)
    command = Alertmanager(tmp_path / "work").command()
    home = command[1].removeprefix("--chdir=")
    text = (tmp_path / "work" / "alertmanager").read_text("utf-8").rstrip("\n")
    assert len(text) == len(program)
    looked_at = text.removeprefix("default=")
    assert os.path.normpath(looked_at) == "/proc/self/cwd/default.tmpl"
    assert home.endswith("/usr/share/prometheus/alertmanager")
