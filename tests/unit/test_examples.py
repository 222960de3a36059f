"""What the pages and the examples show works: configurations, links, commands."""

from __future__ import annotations

import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import typer.main

from consumer.cli import app
from consumer.config import load_settings
from consumer.events.codecs import Codec
from consumer.plan.compile import compile_plan

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: page.as_posix()
)
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")


def named(page: Path) -> str:
    """Name a page in a test's id."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Give a page's fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return [body for found, body in FENCED.findall(text) if found == language]


CONFIGURATIONS = {
    "examples/pos-consumer.toml": ROOT.joinpath(
        "examples", "pos-consumer.toml"
    ).read_text(encoding="utf-8"),
    **{
        f"README.md {number}": text
        for number, text in enumerate(blocks(ROOT / "README.md", "toml"))
    },
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_each_configuration_fits_the_schema(text: str, tmp_path: Path) -> None:
    """What is shown can be copied, and `check` accepts it."""
    path = tmp_path / "pos-consumer.toml"
    path.write_text(text, encoding="utf-8")
    settings = load_settings(path)
    plan = compile_plan(settings, Codec(SCHEMA).sample_frame())
    assert [one.name for one in plan.attributes] == list(settings.attributes)


def test_commented_keys_of_the_example_exist(tmp_path: Path) -> None:
    """Taking the comment from a key of the example gives a configuration, too."""
    text = CONFIGURATIONS["examples/pos-consumer.toml"]
    text = re.sub(r"^# (?=[\"a-z])", "", text, flags=re.MULTILINE)
    path = tmp_path / "pos-consumer.toml"
    path.write_text(text, encoding="utf-8")
    assert load_settings(path).target.token is not None


def anchors(page: Path) -> set[str]:
    """Give the anchors that headings have on the web."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    """A link to a file of the project, or to a heading in it, leads there."""
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(text: str) -> Iterator[list[str]]:
    """Give the words of each `pos-consumer …` or `make …` in a page."""
    lines = [
        line
        for language, body in FENCED.findall(text)
        if not language
        for line in body.splitlines()
    ]
    spans = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    for line in [*map(str.strip, lines), *spans]:
        if re.match(r"(pos-consumer|make) [a-z-]", line):
            yield shlex.split(line, comments=True)


def check_command(words: list[str]) -> None:
    """Walk the command line's tree; a word or an option that is not in it fails."""
    command = typer.main.get_command(app)
    arguments: list[object] = []
    waiting = words[1:]
    while waiting:
        word = waiting.pop(0)
        if word.startswith("-"):
            options = {name: one for one in command.params for name in one.opts}
            names = {*options, "--help"}
            assert word in names, f"{' '.join(words)}: {word}"
            flag = word == "--help" or getattr(options[word], "is_flag", False)
            if not flag and waiting:
                waiting.pop(0)
        elif arguments:
            arguments.pop(0)
        else:
            below = getattr(command, "commands", {})
            assert word in below, f"{' '.join(words)}: {word}"
            command = below[word]
            arguments = [
                one for one in command.params if one.param_type_name == "argument"
            ]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists(page: Path) -> None:
    """A command, its options and a target of make are what a page says they are."""
    made = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0] == "make":
            assert words[1] in made, words
        else:
            check_command(words)


def test_the_readme_shows_every_command_of_a_first_hour() -> None:
    """The search for commands finds them: none is left unchecked by its form."""
    found = {" ".join(words) for words in commands((ROOT / "README.md").read_text())}
    assert {"make demo", "make test", "pos-consumer check", "pos-consumer run"} <= found


def test_a_misspelt_command_is_found() -> None:
    """The walk refuses what the command line would."""
    for line in ("pos-consumer chek", "pos-consumer run --stages all"):
        with pytest.raises(AssertionError):
            check_command(line.split())


def test_the_index_lists_every_decision() -> None:
    """Each page in docs/adr is in its index, by its own title."""
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in sorted(folder.glob("0*.md")):
        number, _, title = page.read_text("utf-8").splitlines()[0][2:].partition(": ")
        assert f"| [{number}]({page.name}) | {title} |" in index


@pytest.mark.parametrize("picture", sorted(ROOT.glob("docs/*.svg")), ids=named)
def test_each_picture_is_legible_in_dark_and_light(picture: Path) -> None:
    """A picture is sound XML with a title and colours for both."""
    root = ET.parse(picture).getroot()  # noqa: S314 - our own file
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    assert "prefers-color-scheme: dark" in (root.findtext(f"{space}style") or "")


def test_no_block_of_toml_is_broken() -> None:
    """Every piece of configuration on every page is TOML."""
    for page in PAGES:
        for block in blocks(page, "toml"):
            assert tomllib.loads(block)
