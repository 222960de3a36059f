"""What all configuration groups share: frozen, strict about keys, self-describing.

Each field is made by `setting`, which keeps what the field is for and what is allowed
beside it: errors and docs/configuration.md are made from those two texts.
"""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

REQUIRED: Final = ...


class Group(BaseModel):
    """A table of the configuration file; validated once, then never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def setting(
    default: Any = REQUIRED,  # noqa: ANN401 - the default of any type
    *,
    about: str,
    allowed: str,
    **constraints: Any,  # noqa: ANN401 - passed to pydantic's Field as they are
) -> Any:  # noqa: ANN401 - pydantic makes the field of any type
    """Declare a key: its default, what it is `about` and what is `allowed`."""
    if callable(default):
        constraints["default_factory"] = default
    else:
        constraints["default"] = default
    return Field(
        description=about, json_schema_extra={"allowed": allowed}, **constraints
    )
