"""The command line: what it says, what it costs, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest
import typer

from consumer import __version__, cli
from consumer.errors import ConfigurationError, SandboxError

_ON_DEMAND = ("confluent_kafka", "polars", "pyarrow", "aiohttp", "lmdb", "jgo")


@pytest.mark.parametrize(
    ("error", "exit_code", "sentence"),
    [
        (SandboxError("It broke.", "Mend it."), 1, "It broke. Mend it."),
        (
            ConfigurationError("http.port", 0, "must be a port"),
            78,
            "http.port = 0: must be a port",
        ),
    ],
)
def test_an_error_of_ours_is_one_sentence_and_its_exit_code(
    error: Exception,
    exit_code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error that an operator can act on has no traceback."""
    app = typer.Typer()

    @app.command()
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main([])

    assert ended.value.code == exit_code
    assert capsys.readouterr().err == f"pos-consumer: {sentence}\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not an error of ours is not hidden."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the name and the version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pos-consumer {__version__}\n"


def test_help_names_every_command_and_loads_no_heavy_library() -> None:
    """`--help` answers at once: what a command runs is imported when it runs."""
    script = (
        "import sys\nfrom consumer.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted(set({_ON_DEMAND!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
    commands = typer.main.get_group(cli.app).commands
    assert set(commands) >= {"check", "sandbox", "topics"}
    assert all(name in done.stdout for name in commands)
