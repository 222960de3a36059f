"""Starts what is measured, each in a process of its own, and takes its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.meter import Measured
from consumer.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.job import Run

ROOT: Final = Path(__file__).parents[1]
LIMIT_SECONDS: Final = 1_800.0
END_LINES: Final = 15


def measure(name: str, run: Run) -> Measured:
    """Run `bench/measured/<name>.py` on a run and give what it reports."""
    words = json.dumps(asdict(run))
    return report_of([sys.executable, "-m", "bench.child", name, words], name)


def report_of(
    command: Sequence[str], name: str, environ: Mapping[str, str] | None = None
) -> Measured:
    """Run a command to its end and give its report.

    Raises `SandboxError` with the end of its words if there is none.
    """
    output = output_of(command, name, environ)
    found = Measured.read(output)
    if found is None:
        raise SandboxError(f"{name} reported nothing:\n{_end(output)}")
    return found


def output_of(
    command: Sequence[str], name: str, environ: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and give what it printed.

    Raises `SandboxError` with the end of its words if it fails or takes too long. It
    is a session of its own, so that nothing of it outlives this call.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environ,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"{name} took over {LIMIT_SECONDS:g} s.") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        words = _end(output + errors)
        raise SandboxError(f"{name} ended with {process.returncode}:\n{words}")
    return output


def _end(words: str) -> str:
    return "\n".join(words.strip().splitlines()[-END_LINES:])
