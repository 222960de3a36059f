"""The command line's commands, one file each.

A file `name.py` has a function `name` with typer's annotations (or `app`, a
`typer.Typer`, where a command has commands of its own), and `consumer.cli` registers
it in one line. Its first argument may be `context: typer.Context`: `config_file` reads
the global `--config` from it. A file imports at its top only what `--help` needs, and
inside the function what it runs. A command raises `PosConsumerError` and prints no
traceback: `consumer.cli` turns it into one sentence and its exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import typer


def config_file(context: typer.Context) -> Path | None:
    """Return the file that the global `--config` names, or None."""
    path: Path | None = context.find_root().obj
    return path
