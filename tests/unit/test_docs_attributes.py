"""The examples of docs/attributes.md are what the service gives."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.config.attributes import AttributeSettings
from tests.property.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "attributes.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "purchase.avsc").read_text())
EXAMPLE = re.compile(r"```toml\n(.*?)```\n\nTarget gets `([^`]*)`", re.DOTALL)
ITEM = re.compile(r"(-?\d+) x (\S+) (\w+) (\d+)")
EXAMPLES = EXAMPLE.findall(PAGE)


def purchases() -> list[dict[str, Any]]:
    """Read the page's table of purchases."""
    _, _, rest = PAGE.partition("<!-- purchases -->")
    table, _, _ = rest.partition("<!-- /purchases -->")
    names, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.strip().splitlines()
    )
    return [purchase(dict(zip(names, row, strict=True))) for row in rows]


def purchase(cells: dict[str, str]) -> dict[str, Any]:
    """Make an event of a row, with what the table leaves out made up."""
    left_out = {"register_id": "R1", "receipt_id": "1", "currency": "EUR"}
    return {
        **cells,
        **left_out,
        "visitor_id": "ann",
        "refers_to": None,
        "occurred_at": datetime.fromisoformat(cells["occurred_at"]).replace(tzinfo=UTC),
        "total_minor": int(cells["total_minor"]),
        "items": [
            {
                "sku": sku,
                "category": category,
                "quantity": int(quantity),
                "unit_price_minor": int(price),
            }
            for quantity, sku, category, price in ITEM.findall(cells["items"])
        ],
    }


@pytest.mark.parametrize(("block", "value"), EXAMPLES, ids=[v for _, v in EXAMPLES])
def test_target_gets_what_the_page_says(block: str, value: str) -> None:
    """Each example, folded from the page's purchases, renders to its value."""
    attributes: dict[str, dict[str, Any]] = tomllib.loads(block)["attributes"]
    made = World(attributes, {1: SCHEMA})
    made.today = (date(2026, 3, 7) - date(1970, 1, 1)).days  # as the page says
    made.feed([made.record(event) for event in purchases()])
    assert list(made.rows()["ann"].values()) == [value]


def test_every_aggregate_has_an_example() -> None:
    """No aggregate is left out, and no block of the page is without its value."""
    allowed = AttributeSettings.model_fields["aggregate"].annotation
    shown = {
        attribute["aggregate"]
        for block, _ in EXAMPLES
        for attribute in tomllib.loads(block)["attributes"].values()
    }
    # min is max the other way round.
    assert shown | {"min"} == set(allowed.__args__)  # type: ignore[union-attr]
    assert len(EXAMPLES) == PAGE.count("```toml")
