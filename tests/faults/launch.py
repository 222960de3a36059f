"""Starts the service with something wrong: broken code, or a clock.

`launch.py MUTANT CLOCK ARGUMENTS...`: the clock is ahead by the seconds in the file
`CLOCK`, which may change at any time; the mutant may be empty. Nothing of this is in
the service itself.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path.cwd()))

LOOK_SECONDS: Final = 0.1


class Clock:
    """Stands for `time.time`."""

    def __init__(self, file: Path) -> None:
        """Read the file now, and again and again."""
        self._file = file
        self._right = time.time
        self._looked_at = float("-inf")
        self._ahead = 0.0

    def __call__(self) -> float:
        """Give the time that it shows."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._ahead = float(self._file.read_text(encoding="ascii"))
        return self._right() + self._ahead


def main() -> None:
    """Break what is to be broken, then run the command line."""
    _, mutant, clock, *arguments = sys.argv
    time.time = Clock(Path(clock))
    if mutant:
        from tests.faults.mutants import MUTANTS

        MUTANTS[mutant]()
    from consumer.cli import main as run

    run(arguments)


if __name__ == "__main__":
    main()
