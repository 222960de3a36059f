"""The documentation says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from consumer.config import Settings, load_settings
from consumer.config.reference import filled, reference

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_tables_of_the_configuration_are_up_to_date() -> None:
    """Every key is documented with default, meaning, environment; none is made up.

    `python -m consumer.config.reference docs/configuration.md` makes them anew.
    """
    assert filled(PAGE) == PAGE


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_configuration_that_loads(
    example: str, tmp_path: Path
) -> None:
    """What stands there can be copied."""
    path = tmp_path / "pos-consumer.toml"
    path.write_text(example, encoding="utf-8")
    assert load_settings(path).target.client == "acme"


def test_the_long_example_has_every_key_and_its_default(tmp_path: Path) -> None:
    """The page's second example shows each key, commented where it has no default."""
    example = EXAMPLES[1]
    keys = {entry.path[-1] for entry in reference()} - {"<librdkafka_option>"}
    written = set(re.findall(r"^(?:# )?\"?([a-z_]+)\"? = ", example, re.MULTILINE))
    assert keys <= written
    path = tmp_path / "pos-consumer.toml"
    path.write_text(example, encoding="utf-8")
    shown = load_settings(path)
    needed: dict[str, object] = {
        "purchases": {"topic": "purchases"},
        "target": {"client": "acme"},
        "attributes": {"a": {"aggregate": "count"}},
    }
    path.write_text("", encoding="utf-8")
    plain = load_settings(path, needed)
    without = {"attributes"}
    assert shown.model_dump(exclude=without) == plain.model_dump(exclude=without)


def test_every_key_of_the_examples_exists() -> None:
    """Commented keys of the long example are real ones too."""
    uncommented = re.sub(r"^# (?=[\"a-z])", "", EXAMPLES[1], flags=re.MULTILINE)
    tables = tomllib.loads(uncommented)
    assert set(tables) <= set(Settings.model_fields)
    known = {entry.path[-1] for entry in reference()}
    for name, table in tables.items():
        if isinstance(table, dict) and name not in ("kafka", "attributes"):
            assert set(table) <= known | set(Settings.model_fields) | {
                "fields",
                "registry",
                "token_api",
                "batch",
                "budget",
                "delivery",
            }
