"""Each sentence of Adobe's contract has its tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "target-contract.md").read_text(encoding="utf-8")
NAMED = re.compile(r"\b([A-Z1]) `(test_\w+)`")
FILES = dict(re.findall(r"^\| (\w) \| `([^`]+)` \|$", PAGE, re.MULTILINE))
_, _, _REST = PAGE.partition("<!-- contract -->")
TABLE = _REST.partition("<!-- /contract -->")[0].strip().splitlines()[2:]


def names_in(path: str) -> set[str]:
    """Return the names of a file's tests."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.split("|")[1].strip())
def test_the_names_in_each_sentence_exist(line: str) -> None:
    """The sandbox has one at least, and each that is named is there."""
    _, sentence, sandbox, ours, _ = line.split("|")
    assert sentence.strip().endswith(".")
    named = NAMED.findall(sandbox)
    assert named, "the sandbox is held to nothing"
    for short, test in [*named, *NAMED.findall(ours)]:
        assert test in names_in(FILES[short])


def test_every_file_that_is_listed_is_named_in_the_table() -> None:
    """The list of files stays as short as it can be."""
    used = {short for line in TABLE for short, _ in NAMED.findall(line)}
    assert used == set(FILES)
