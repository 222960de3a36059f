"""Starts the service with something wrong: broken code, or a clock.

`launch.py MUTANT AHEAD,AFTER ARGUMENTS...`: the clock is `AHEAD` seconds ahead from
`AFTER` seconds after the start on; the mutant may be empty. Nothing of this is in the
service itself.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))


def main() -> None:
    """Break what is to be broken, then run the command line."""
    _, mutant, clock, *arguments = sys.argv
    ahead, after = map(float, clock.split(","))
    if ahead:
        right, jump = time.time, time.time() + after
        time.time = lambda: right() + (ahead if right() >= jump else 0.0)
    if mutant:
        from tests.faults.mutants import MUTANTS

        MUTANTS[mutant]()
    from consumer.cli import main as run

    run(arguments)


if __name__ == "__main__":
    main()
