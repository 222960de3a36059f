"""Reads Target's XML answers without trusting them.

Bytes enter, an `Answer` with the text of every element leaves. A DOCTYPE, an entity
declaration, a body over the size limit or anything that is not XML is a `BadAnswer`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

LARGEST: Final = 1_000_000
"""Bytes of an answer; failed rows are listed in some, the documented ones are short."""

_DEEPEST: Final = 16


class BadAnswer(ValueError):  # noqa: N818 - named like our other errors
    """The answer is not the documented XML."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The texts of an answer: `fields` once each, `profiles` one mapping per row."""

    fields: Mapping[str, str]
    profiles: tuple[Mapping[str, str], ...]

    def text(self, name: str) -> str:
        """Return an element's text, or nothing."""
        return self.fields.get(name, "")

    def number(self, name: str) -> int:
        """Return an element's text as a count; 0 where it is absent or no number."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() else 0


class _Reader:
    """Collects texts while expat walks the document."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.profiles: list[dict[str, str]] = []
        self.path: list[str] = []
        self.texts: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        del attributes
        if not self.path and name != "response":
            message = f"its root is <{name[:40]}>, not <response>"
            raise BadAnswer(message)
        if len(self.path) >= _DEEPEST:
            message = "its elements are nested too deeply"
            raise BadAnswer(message)
        self.path.append(name)
        self.texts.clear()
        if name == "profile":
            self.profiles.append({})

    def end(self, name: str) -> None:
        self.path.pop()
        text = "".join(self.texts).strip()
        self.texts.clear()
        if "profile" in self.path:
            self.profiles[-1].setdefault(name, text)
        elif self.path and name != "profile":
            self.fields.setdefault(name, text)

    def refuse(self, *declaration: object) -> None:
        del declaration
        message = "it declares a document type or an entity"
        raise BadAnswer(message)


def parse(body: bytes) -> Answer:
    """Read a `<response>` document; BadAnswer if it is anything else."""
    if len(body) > LARGEST:
        message = f"it is larger than {LARGEST:,} bytes"
        raise BadAnswer(message)
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.texts.append
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat's own signature
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, BadAnswer):
            raise
        message = f"it is no XML ({error})"
        raise BadAnswer(message) from error
    return Answer(reader.fields, tuple(reader.profiles))
