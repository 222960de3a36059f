"""The measured side: `python -m bench.child NAME RUN` does one thing and reports it."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from bench.job import Run


def main(name: str, run: str) -> None:
    """Do what `bench/measured/<name>.py` measures."""
    # Imported by name: each process is to hold only what it measures.
    import_module(f"bench.measured.{name}").main(Run(**json.loads(run)))


if __name__ == "__main__":
    main(*sys.argv[1:])
