"""The tables of docs/events.md are what decoding and resolving give."""

from __future__ import annotations

from pathlib import Path

from tests.events_table import filled

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_tables_of_types_and_of_evolution_are_up_to_date() -> None:
    """`python -m tests.events_table docs/events.md` tries each row and writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page
