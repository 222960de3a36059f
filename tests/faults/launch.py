"""Starts the service with something wrong: broken code, or a clock that is ahead.

`launch.py MUTANT CLOCK_AHEAD ARGUMENTS...`, both may be empty or 0. Nothing of this is
in the service itself.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))


def main() -> None:
    """Break what is to be broken, then run the command line."""
    _, mutant, ahead, *arguments = sys.argv
    if seconds := float(ahead):
        right = time.time
        time.time = lambda: right() + seconds
    if mutant:
        from tests.faults.mutants import MUTANTS

        MUTANTS[mutant]()
    from consumer.cli import main as run

    run(arguments)


if __name__ == "__main__":
    main()
