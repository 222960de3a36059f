"""Consume and decode by the fast codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measured.stacked import decode

if TYPE_CHECKING:
    from bench.job import Run


def main(run: Run) -> None:
    """Consume and decode by the fast codec."""
    decode(run, fast=True)
