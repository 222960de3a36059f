"""How records are written: the types of JSON fields, and the way to the registry."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ValidationInfo, field_validator

from consumer.config.group import Group, setting
from consumer.config.values import A_SECRET, Secret, SecretText

HEADER: Final = "__value_schema_id"
SOURCES: Final = {"schemas", "schema_registry", "schema_file"}
PLAIN_COLUMNS: Final = (
    "string",
    "long",
    "double",
    "boolean",
    "date",
    "timestamp",
    "timestamp-millis",
    "timestamp-micros",
)
DECIMAL_COLUMN: Final = re.compile(r"decimal\((\d+), ?(\d+)\)")
LARGEST_PRECISION: Final = 38
DEEPEST_COLUMN: Final = 16
A_COLUMN: Final = (
    "names with a type each: string, long, double, boolean, decimal(p, s), date and "
    "timestamp (ISO 8601 texts), timestamp-millis and timestamp-micros (numbers), a "
    "table for an object (of a map, the names that you read), or a list with the one "
    "type of its items"
)


def check_column(name: str, column: object, depth: int = 0) -> None:
    """Raise `ValueError` naming a column that has no such type."""
    match column:
        case str() if column in PLAIN_COLUMNS:
            return
        case str() if found := DECIMAL_COLUMN.fullmatch(column):
            precision, scale = map(int, found.groups())
            if 0 < precision <= LARGEST_PRECISION and scale <= precision:
                return
        case Mapping() if column and depth < DEEPEST_COLUMN:
            for below, inner in column.items():
                check_column(f"{name}.{below}", inner, depth + 1)
            return
        case [one] if depth < DEEPEST_COLUMN:
            check_column(f"{name}.[]", one, depth + 1)
            return
    message = f"{name} = {column!r}: expected {A_COLUMN}"
    raise ValueError(message)


def _columns(columns: dict[str, Any]) -> dict[str, Any]:
    for name, column in columns.items():
        check_column(name, column)
    return columns


Columns = Annotated[dict[str, Any], AfterValidator(_columns)]


class RegistrySettings(Group):
    """`[purchases.registry]`: how the schema registry is reached."""

    subject: str | None = setting(
        None,
        about="The subject of the topic's values; `<topic>-value` without it.",
        allowed="a text",
        min_length=1,
    )
    username: str | None = setting(
        None, about="The user of basic authentication.", allowed="a text", min_length=1
    )
    password: SecretText | None = setting(
        None,
        about="Their password; read anew when the registry refuses it.",
        allowed=A_SECRET + ", with username",
        validate_default=True,
    )
    token: SecretText | None = setting(
        None,
        about="A bearer token, read anew for each call.",
        allowed=A_SECRET + ", and no username",
    )
    ca_file: Path | None = setting(
        None,
        about="Who may have signed the registry's certificate: certificates in PEM.",
        allowed="a file",
    )
    certificate_file: Path | None = setting(
        None, about="Our own certificate, in PEM.", allowed="a file, with key_file"
    )
    key_file: Path | None = setting(
        None,
        about="Our certificate's private key, in PEM.",
        allowed="a file, with certificate_file",
    )

    @field_validator("password")
    @classmethod
    def _of_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if (password is None) != (info.data.get("username") is None):
            message = "expected username and password together"
            raise ValueError(message)
        return password

    @field_validator("token")
    @classmethod
    def _instead_of_a_user(
        cls, token: Secret | None, info: ValidationInfo
    ) -> Secret | None:
        if token is not None and info.data.get("username") is not None:
            message = "expected either a token, or username and password"
            raise ValueError(message)
        return token
