"""Consume, decode, fold and encode, every batch into nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measured.stacked import merge

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Consume, decode, fold and encode, every batch into nothing."""
    merge(run, remember=False)
