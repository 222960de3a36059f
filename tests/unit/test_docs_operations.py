"""What an operator looks up is there: every reason, metric and exit code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from consumer import errors
from consumer.events import mapping
from consumer.stages import batch, upload_refusals
from consumer.target.batch_file import REASONS
from consumer.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TARGET = (ROOT / "docs" / "target.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]


def listed(page: str, mark: str) -> list[str]:
    """Give the first cells of the table between two marks."""
    _, _, rest = page.partition(f"<!-- {mark} -->")
    table, _, _ = rest.partition(f"<!-- /{mark} -->")
    rows = [line.split("|")[1].strip() for line in table.strip().splitlines()]
    return [cell.strip("`") for cell in rows[2:]]


def written(name: str, place: int) -> set[str]:
    """Find the words that the code gives as one argument of a call, by position."""
    found = set()
    for file in (ROOT / "consumer").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                argument = node.args[place] if len(node.args) > place else None
                word = getattr(argument, "value", None)
                if isinstance(word, str):
                    found.add(word)
    return found


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    """Each reason that the code gives is in the table, and no other."""
    reasons = written("DeadLetter", 1) | written("Refusal", 1)
    reasons |= {*mapping.SENTENCES, *batch.SENTENCES}
    found = listed(PAGE, "dead-letters")
    assert sorted(found) == sorted(reasons)


def test_every_reason_of_a_halt_is_explained() -> None:
    """Each reason that the code gives is in the table, and no other."""
    assert sorted(listed(PAGE, "halts")) == sorted(written("PartitionHalt", 0))


def test_every_reason_of_a_rejected_row_is_explained() -> None:
    """Each reason that the code gives is in the table, and no other."""
    assert listed(TARGET, "rejected") == [*REASONS, upload_refusals.REFUSED]


def test_every_exit_code_is_explained() -> None:
    """The codes of our errors are in the table."""
    ours = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PosConsumerError)
    }
    assert {str(code) for code in {0, 2, *ours}} == set(listed(PAGE, "exits"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_that_a_page_names_exists(page: Path) -> None:
    """A metric in the text is one of the catalogue."""
    known = set()
    for family in Metrics().registry.collect():
        known |= {family.name, f"{family.name}_total", f"{family.name}_info"}
    named = set(re.findall(r"`(pos_consumer_\w+)`", page.read_text(encoding="utf-8")))
    assert named <= known
