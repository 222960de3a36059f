"""What tables are printed on: as wide as the terminal, or wide where there is none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

ELSEWHERE: Final = 200
"""Columns where nothing wraps lines: in a pipe or a file."""

NARROW: Final = 110
"""Columns below which a table of many columns gives way to lines."""


def console(*, highlight: bool = True) -> Console:
    """Make the console of stdout; the variable COLUMNS says its width anywhere."""
    from rich.console import Console

    wide = not (sys.stdout.isatty() or os.environ.get("COLUMNS"))
    return Console(width=ELSEWHERE if wide else None, highlight=highlight)


def span(first: str, last: str) -> str:
    """Write two moments such as `2026-01-31 08:00:00Z`, the day once if it is one."""
    if first == last:
        return first
    if first[:10] == last[:10]:
        return f"{first.removesuffix('Z')}-{last[11:]}"
    return f"{first[:16]} - {last[:16]}Z"
