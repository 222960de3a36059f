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
    from collections.abc import Sequence

    from bench.job import Run

ROOT: Final = Path(__file__).parents[1]
LIMIT_SECONDS: Final = 1_800.0
END_LINES: Final = 15


def measure(name: str, run: Run) -> Measured:
    """Run `bench/measured/<name>.py` on a run and give what it reports."""
    words = json.dumps(asdict(run))
    return report_of([sys.executable, "-m", "bench.child", name, words], name)


def report_of(
    command: Sequence[str], name: str, limit: float = LIMIT_SECONDS
) -> Measured:
    """Run a command to its end and give its report.

    Raises `SandboxError` with the end of its words if it fails or takes too long. It
    is a session of its own, so that nothing of it outlives this call.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"{name} did not end within {limit:g} s.") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    found = Measured.read(output)
    if found is None or process.returncode:
        last = "\n".join((output + errors).strip().splitlines()[-END_LINES:])
        raise SandboxError(f"{name} ended with {process.returncode}:\n{last}")
    return found
