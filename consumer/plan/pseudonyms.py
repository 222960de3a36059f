"""Visitor ids to pseudonyms: HMAC-SHA-256 under a key from a file, in hexadecimal.

Enters and leaves: a polars series of ids; null stays null, and an empty id becomes
null, since it names nobody. The same id and key give the same 64 characters, so
profiles, deduplication and Target work on pseudonyms as they do on ids. Each distinct
id of a batch is hashed once.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from consumer.config import Secret

KEY: Final = "purchases.pseudonym_key"
SHORTEST_KEY: Final = 32
"""Characters: in hexadecimal that is 128 bits."""

_CHECKED: Final = b"pos-consumer: which key is this?"
_FINGERPRINT_BYTES: Final = 8


class Pseudonyms:
    """Hashes under one key, which is read when it is first needed."""

    def __init__(self, secret: Secret) -> None:
        """Read nothing yet: `check` runs where the secrets are not."""
        self._secret = secret
        self._key: bytes | None = None

    @property
    def key(self) -> bytes:
        """The key. Raises `ConfigurationError` where it cannot be read or is short."""
        if self._key is None:
            text = self._secret.read(KEY)
            if len(text) < SHORTEST_KEY:
                allowed = (
                    f"expected at least {SHORTEST_KEY} characters, such as `openssl "
                    "rand -hex 32` makes"
                )
                raise ConfigurationError(KEY, f"{len(text)} characters", allowed)
            self._key = text.encode()
        return self._key

    @property
    def fingerprint(self) -> str:
        """What tells two keys apart, and nothing else of them."""
        digest = hmac.digest(self.key, _CHECKED, "sha256")
        return digest[:_FINGERPRINT_BYTES].hex()

    def of(self, visitors: pl.Series) -> pl.Series:
        """Give the pseudonym of each id."""
        key = self.key
        distinct = visitors.unique().drop_nulls()
        distinct = distinct.filter(distinct.str.len_bytes() > 0)
        hashed = [
            hmac.digest(key, visitor.encode(), "sha256").hex()
            for visitor in distinct.to_list()
        ]
        return visitors.replace_strict(
            distinct,
            pl.Series(hashed, dtype=pl.String),
            default=None,
            return_dtype=pl.String,
        )

    def expression(self, visitor: pl.Expr) -> pl.Expr:
        """Give the expression of a visitor's pseudonym from that of the id."""
        return visitor.map_batches(self.of, return_dtype=pl.String)
