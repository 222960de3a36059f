"""The command line: registers the commands and turns errors into exit codes.

Wiring only. Every command is a file in `consumer.commands` and one line here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer import __version__
from consumer.commands import (
    check,
    dead_letters,
    demo,
    doctor,
    erase,
    explain,
    init,
    preview,
    rebuild,
    requests,
    resync,
    run,
    sandbox,
    topics,
)
from consumer.errors import PosConsumerError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="pos-consumer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug's traceback is for developers, in full
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Try **pos-consumer demo** first: it needs no Kafka, no account and no "
        "configuration. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "78 wrong configuration."
    ),
)
app.command()(run.run)
app.command()(demo.demo)
app.command()(init.init)
app.command()(check.check)
app.command()(preview.preview)
app.command()(doctor.doctor)
app.command()(rebuild.rebuild)
app.command()(explain.explain)
app.command()(resync.resync)
app.command()(erase.erase)
app.command()(requests.requests)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sandbox.app, name="sandbox")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pos-consumer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The TOML configuration. Environment variables "
            "(POS_CONSUMER__TARGET__CLIENT=acme) are set over it.",
            envvar="POS_CONSUMER_CONFIG",
            dir_okay=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Deliver every visitor's purchases to Adobe Target as a profile.

    Purchases are read from Kafka, folded per visitor exactly once, and uploaded in
    bulk profile updates.
    """
    context.obj = config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error of ours is one sentence on stderr and its exit code."""
    try:
        app(arguments)
    except PosConsumerError as error:
        typer.echo(f"pos-consumer: {error}", err=True)
        raise SystemExit(error.exit_code) from None
