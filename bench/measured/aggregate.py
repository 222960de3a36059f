"""The whole aggregate stage, run as `pos-consumer run --stage aggregate` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measured.service_runs import run_service

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Fold the whole topic into profiles, exactly once."""
    run_service(run, stages=("aggregate",))
