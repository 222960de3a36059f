"""The reference of all keys, made from the groups; docs/configuration.md is held to it.

`python -m consumer.config.reference docs/configuration.md` makes its tables anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic_core import PydanticUndefined

from consumer.config.kafka import REFUSED_OPTIONS
from consumer.config.problems import known_keys
from consumer.config.settings import Settings
from consumer.config.sources import environment_name
from consumer.config.values import (
    DURATION_UNITS,
    SIZE_UNITS,
    parse_duration,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

NAME: Final = "<name>"
OPTION: Final = "<librdkafka_option>"
_REQUIRED: Final = "required"
_NONE: Final = "none"
_SPECIAL: Final = {  # made when the rest is known, so no default stands in the field
    ("kafka", OPTION): '"bootstrap.servers" = "localhost:9092"',
    ("target", "endpoint"): "https://<client>.tt.omtrdc.net",
    ("attributes", NAME, "n"): "1 for top, 5 for recent",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One key: its place in the file, and its texts as they stand in the docs."""

    path: tuple[str, ...]
    default: str
    environment: str
    allowed: str
    about: str

    @property
    def table(self) -> str:
        """The TOML table that holds the key; empty for the top of the file."""
        return ".".join(self.path[:-1])


def reference() -> list[Entry]:
    """Return every key that the configuration has, in the order of the groups."""
    return list(_entries(Settings, ()))


def _entries(group: type[BaseModel], at: tuple[str, ...]) -> Iterator[Entry]:
    for name, field in known_keys(group).items():
        path = (*at, name)
        if at == ("kafka",):
            path = (*at, OPTION) if name == "common" else (*path, OPTION)
        inner = field.annotation
        if get_origin(inner) is dict and _is_group(get_args(inner)[1]):
            yield from _entries(get_args(inner)[1], (*path, NAME))
        elif isinstance(inner, type) and _is_group(inner):
            yield from _entries(inner, path)
        else:
            yield _entry(path, field)


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _entry(path: tuple[str, ...], field: FieldInfo) -> Entry:
    extra = field.json_schema_extra
    allowed = str(extra["allowed"]) if isinstance(extra, dict) else ""
    return Entry(
        path,
        _default(path, field),
        environment_name(*path),
        allowed,
        field.description or "",
    )


def _default(path: tuple[str, ...], field: FieldInfo) -> str:
    if field.is_required():
        return _REQUIRED
    if path in _SPECIAL:
        return _SPECIAL[path]
    if path[-1] == "topic":
        return f"<application>.{path[0].replace('_', '-')}"
    if field.default is PydanticUndefined or field.default is None:
        return _NONE
    return shown(field.default, field)


def shown(value: object, field: FieldInfo) -> str:
    """Write a default as the file would."""
    parsers = {m.func for m in field.metadata if isinstance(m, BeforeValidator)}
    match value:
        case bool():
            return str(value).lower()
        case int() | float() if parse_duration in parsers:
            return _with_unit(value, DURATION_UNITS)
        case int() | float() if parse_size in parsers:
            return _with_unit(value, SIZE_UNITS)
        case str() | Path():
            return f'"{value}"'
        case tuple():
            return "[" + ", ".join(f'"{one}"' for one in value) + "]"
        case _:
            return str(value)


def _with_unit(value: float, units: dict[str, Any]) -> str:
    """Write with the largest unit that leaves a whole number, days as hours."""
    fitting = [u for u, size in units.items() if u != "d" and value % size == 0]
    unit = max(fitting, key=lambda u: units[u], default="")
    return f'"{value / units[unit]:.0f}{unit}"'


def tables() -> str:
    """Return the page's generated part: one section of Markdown for each table."""
    sections: dict[str, list[Entry]] = {}
    for entry in reference():
        sections.setdefault(entry.table, []).append(entry)
    return "\n".join(_section(table, entries) for table, entries in sections.items())


def _section(table: str, entries: list[Entry]) -> str:
    title = f"`[{table}]`" if table else "Top of the file"
    rows = [
        f"| `{e.path[-1]}` | `{_cell(e.default)}` | {_cell(e.about)} "
        f"| {_cell(e.allowed)} | `{e.environment}` |"
        for e in entries
    ]
    head = "| key | default | what it is | allowed | environment |"
    return "\n".join([f"### {title}", "", head, "|---|---|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def refused() -> str:
    """Return the table of refused librdkafka options."""
    return "\n| option | why |\n|---|---|\n" + "".join(
        f"| `{k}` | {_cell(v)} |\n" for k, v in REFUSED_OPTIONS.items()
    )


def filled(page: str) -> str:
    """Return the page with its generated parts made anew, between their marks."""
    for mark, text in (("keys", f"\n{tables()}"), ("refused", f"{refused()}\n")):
        before, opening, rest = page.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        page = f"{before}{opening}{text}{closing}{after}"
    return page


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(filled(document.read_text("utf-8")), "utf-8")
