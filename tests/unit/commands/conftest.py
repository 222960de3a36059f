"""A configuration that `check` finds right, for commands to look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from consumer.cli import main

ROOT = Path(__file__).parents[3]
CONFIG = """
[purchases]
topic = "purchases"
[attributes.revenue]
aggregate = "sum"
of = "total_minor"
[target]
client = "acme"
token = { file = "not/here" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Make a right configuration with the sandbox's schema."""
    (tmp_path / "schemas").mkdir()
    shutil.copy(ROOT / "schemas" / "purchase.avsc", tmp_path / "schemas" / "1.avsc")
    path = tmp_path / "pos-consumer.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def run(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    """Run the command line and return exit code, output and errors."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, captured.out, captured.err
