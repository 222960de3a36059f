"""Consume, decode, fold, merge with the stores and encode: all but Kafka's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measured.stacked import merge

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Consume, decode, fold, merge with the stores and encode: all but Kafka's end."""
    merge(run, remember=True)
