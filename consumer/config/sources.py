"""Where settings come from: file < environment < flags, merged by pydantic-settings.

Enters a path and the flags' values; leaves validated `Settings`, or one
`ConfigurationError` with every problem.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from consumer.config.problems import translate
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError

DEFAULT_CONFIG_FILE: Final = Path("pos-consumer.toml")
ENVIRONMENT_PREFIX: Final = "POS_CONSUMER__"
HOW_TO_MAKE_ONE: Final = (
    "there is no such file; copy the example at the head of docs/configuration.md "
    "into it, or name another one with --config"
)
_FILE: Final = "_config_file"
_TABLES: Final = ("purchases", "target", "aggregate")


def environment_name(*path: str) -> str:
    """Return the environment variable of a key."""
    return ENVIRONMENT_PREFIX + "__".join(
        part.replace(".", "_").upper() for part in path
    )


class Environment(PydanticBaseSettingsSource):
    """`POS_CONSUMER__A__B` as key `a.b`; in `[kafka]`, `_` stands for `.`.

    Names of the file's own (attributes) are found there whatever their case, since
    environment variables are written in capitals.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        variables: Mapping[str, str],
        file: Mapping[str, Any],
    ) -> None:
        """Read `variables`, with the `file`'s content to find names in."""
        super().__init__(settings_cls)
        self._variables = variables
        self._file = file

    def get_field_value(
        self, field: FieldInfo, field_name: str
    ) -> tuple[Any, str, bool]:
        """Return one top-level field's value, as pydantic-settings asks it."""
        del field
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the nested settings that the variables make."""
        settings: dict[str, Any] = {}
        for variable, value in sorted(self._variables.items()):
            if path := self.path_of(variable):
                *tables, key = path
                table = settings
                for name in tables:
                    table = table.setdefault(name, {})
                    if not isinstance(table, dict):
                        shorter = variable.rpartition("__")[0]
                        allowed = f"{shorter} is set too; one of the two must go"
                        raise ConfigurationError(variable, value, allowed)
                table[key] = value
        return settings

    def path_of(self, variable: str) -> list[str]:
        """Return the key that a variable names; empty if it is none of ours."""
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            return []
        parts = variable[len(ENVIRONMENT_PREFIX) :].split("__")
        if parts[0].lower() == "kafka":
            return [part.lower().replace("_", ".") for part in parts]
        path: list[str] = []
        known: object = self._file
        for part in parts:
            names = known if isinstance(known, dict) else {}
            name = next((n for n in names if n.lower() == part.lower()), part.lower())
            path.append(name)
            known = names.get(name)
        return path


class LayeredSettings(Settings, BaseSettings):
    """Settings read in layers; made by `load_settings` alone."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags over the environment over the file; nothing else is read."""
        del env_settings, dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, init_settings().get(_FILE))
        return init_settings, Environment(settings_cls, os.environ, toml()), toml

    @model_validator(mode="before")
    @classmethod
    def _anchor(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Make relative paths start at the file's folder, defaults included."""
        merged = dict(data)
        folder = Path(merged.pop(_FILE) or DEFAULT_CONFIG_FILE).absolute().parent
        for name in _TABLES:
            merged.setdefault(name, {})
        purchases = merged["purchases"]
        if isinstance(purchases, dict):
            others = {"schema_registry", "schema_file"} & purchases.keys()
            schemas = None if others else Path("schemas")
            _anchor_key(purchases, "schemas", schemas, folder)
            _anchor_key(purchases, "schema_file", None, folder)
            _anchor_registry(purchases, folder)
        _anchor_key(merged["aggregate"], "state_dir", Path("state"), folder)
        return _anchor_files(merged, folder)


def _anchor_key(table: object, key: str, default: Path | None, folder: Path) -> None:
    if isinstance(table, dict):
        value = table.get(key, default)
        if isinstance(value, str | Path) and str(value):
            table[key] = folder / value


def _anchor_registry(purchases: Mapping[str, object], folder: Path) -> None:
    for name in ("ca_file", "certificate_file", "key_file"):
        _anchor_key(purchases.get("registry"), name, None, folder)


def _anchor_files(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Anchor each `{ file = "…" }` in a table and below."""
    match table:
        case {"file": str() | Path() as file, **rest} if file and not rest:
            return {"file": folder / file}
    return {
        key: _anchor_files(below, folder) if isinstance(below, dict) else below
        for key, below in table.items()
    }


def load_settings(
    path: Path | None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """Read the file at `path`, the environment over it, `overrides` over both.

    Without a path, `pos-consumer.toml` in the working folder is read if it is there;
    the environment alone may be enough. Overrides are nested like the file. Raises one
    ConfigurationError with every problem found.
    """
    file = _existing(path)
    content = _checked_toml(file)
    try:
        return LayeredSettings(**{_FILE: file}, **(overrides or {}))  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        finder = Environment(LayeredSettings, os.environ, content)
        origins = {
            ".".join(key).lower(): variable
            for variable in os.environ
            if (key := finder.path_of(variable))
        }
        layers = [overrides or {}, finder(), content]
        raise translate(error, Settings, origins, layers) from error


def partial(path: Path | None) -> dict[str, Any]:
    """Read what there is of a configuration, the file at `path` and the environment.

    Nothing is validated and nothing need be there, but a file that is named.
    """
    file = None if path is None else _existing(path)
    content = _checked_toml(file)
    environment = Environment(LayeredSettings, os.environ, content)()
    folder = (file or DEFAULT_CONFIG_FILE).absolute().parent
    found = _anchor_files(_over(environment, content), folder)
    if isinstance(purchases := found.get("purchases"), dict):
        _anchor_registry(purchases, folder)
    return found


def _over(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Put one nested mapping over another."""
    both = {
        name: _over(upper[name], lower[name])
        for name in upper.keys() & lower.keys()
        if isinstance(upper[name], dict) and isinstance(lower[name], dict)
    }
    return {**lower, **upper, **both}


def _existing(path: Path | None) -> Path | None:
    if path is not None:
        if path.is_file():
            return path
        raise ConfigurationError("--config", str(path), HOW_TO_MAKE_ONE)
    if DEFAULT_CONFIG_FILE.is_file():
        return DEFAULT_CONFIG_FILE
    if any(name.upper().startswith(ENVIRONMENT_PREFIX) for name in os.environ):
        return None
    raise ConfigurationError("--config", str(DEFAULT_CONFIG_FILE), HOW_TO_MAKE_ONE)


def _checked_toml(file: Path | None) -> dict[str, Any]:
    """Return the file's content; ConfigurationError if it is not readable TOML."""
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        allowed = f"expected a readable TOML file ({error})"
        raise ConfigurationError("--config", str(file), allowed) from error
