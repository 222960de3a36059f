"""Consume and decode by the safe codec, record by record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measured.stacked import decode

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Consume and decode by the safe codec, record by record."""
    decode(run, fast=False)
