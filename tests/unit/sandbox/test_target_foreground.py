"""The Target sandbox as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

RUN = """
from consumer.sandbox.target.foreground import run_target
from consumer.sandbox.target import TargetOptions
run_target(TargetOptions(client="shop"), say=lambda line: print(line, flush=True))
"""


def test_it_says_its_addresses_answers_and_ends_on_sigterm() -> None:
    """Ready once it has spoken; it ends with what it saw and exit code 0."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(6)]
        assert "shop" in said[0]
        journal = said[3].split()[-1]
        with urllib.request.urlopen(journal, timeout=10) as answer:  # noqa: S310
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert "0 calls" in process.stdout.read()
    assert process.returncode == 0
