"""pydantic's findings to one `ConfigurationError`: key, value and what is allowed.

Pure. Enters a ValidationError; leaves our error with one line for each problem, each
unknown key with the nearest known one, secrets masked.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from consumer.config.values import is_sensitive
from consumer.errors import NOT_A_KEY, UNSET, ConfigurationError

_NOT_A_PROBLEM: Final = "default_factory_not_called"  # follows from another problem
_OWN_WORDS: Final = "value_error"
_KAFKA_COMMON: Final = ("kafka", "common")


def translate(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[str, str],
    layers: Sequence[Mapping[str, object]],
) -> ConfigurationError:
    """Make our error of pydantic's.

    `origins` names the variable that set a key; `layers` are what was read, strongest
    first, to show each value as it was given.
    """
    problems = [
        _problem(details, model, origins, layers)
        for details in error.errors(include_url=False)
        if details["type"] != _NOT_A_PROBLEM
    ]
    return ConfigurationError.of(problems)


def _problem(
    details: ErrorDetails,
    model: type[BaseModel],
    origins: Mapping[str, str],
    layers: Sequence[Mapping[str, object]],
) -> ConfigurationError:
    path = [str(part) for part in details["loc"] if part != "[key]"]
    about_key = "[key]" in details["loc"]
    parent, field = _locate(model, path)
    key = dotted(path)
    value = _given(path, layers, otherwise=details["input"])
    allowed: str = _allowed(field)
    if details["type"] == "missing":
        value = UNSET
        allowed = f"expected {allowed}" if allowed else "it is needed"
    elif details["type"] == "extra_forbidden":
        allowed = _suggestion(path[-1], parent)
    elif details["type"] == _OWN_WORDS:
        allowed = str(details["ctx"]["error"])
        value = UNSET if value is None else value
    elif allowed:
        allowed = f"expected {allowed}"
    else:
        allowed = f"expected a table with keys, {details['msg'].lower()}"
    if about_key or isinstance(value, BaseModel):
        value = NOT_A_KEY
    elif value is not UNSET and (is_sensitive(path[-1]) or "token" in path):
        value = "***"
    if origin := origins.get(".".join(path).lower()):
        key = f"{key} (from {origin})"
    return ConfigurationError(key, value, allowed)


def _given(
    path: list[str], layers: Sequence[Mapping[str, object]], otherwise: object
) -> object:
    """Return the value of a key as it was written; a size is parsed by now."""
    for layer in layers:
        found: object = layer
        for part in path:
            found = found.get(part, UNSET) if isinstance(found, Mapping) else UNSET
        if found is not UNSET and not isinstance(found, Mapping):
            return found
    return otherwise


def dotted(path: list[str]) -> str:
    """Write a key as it stands in the file: quoted where TOML would need it."""
    if tuple(path[:2]) == _KAFKA_COMMON:
        path = ["kafka", *path[2:]]
    return ".".join(f'"{part}"' if "." in part else part for part in path)


def _allowed(field: FieldInfo | None) -> str:
    if field is None or not isinstance(field.json_schema_extra, dict):
        return ""
    return str(field.json_schema_extra["allowed"])


def _locate(
    model: type[BaseModel], path: list[str]
) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Find the group that holds the last key of the path, and that key's field."""
    group: type[BaseModel] | None = model
    field: FieldInfo | None = None
    holder: type[BaseModel] | None = None
    for part in path:
        if group is None:  # a name in a dict such as [attributes], or an index
            group = _group_in(field)
            continue
        holder = group
        field = known_keys(group).get(part)
        group = _as_group(field.annotation if field else None)
    return holder, field


def _as_group(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _group_in(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return the group that a dict field holds, if it holds groups."""
    if field is None or get_origin(field.annotation) is not dict:
        return None
    return _as_group(get_args(field.annotation)[1])


def known_keys(group: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a group's fields by the names that they have in the file."""
    return {f.alias or name: f for name, f in group.model_fields.items()}


def _suggestion(unknown: str, group: type[BaseModel] | None) -> str:
    known = sorted(known_keys(group)) if group else []
    nearest = difflib.get_close_matches(unknown, known, n=1, cutoff=0.6)
    if nearest:
        return f"there is no such key; did you mean `{nearest[0]}`?"
    return f"there is no such key; allowed are {', '.join(known)}"
