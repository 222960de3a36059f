"""Visitor ids and their pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.config import Secret
from consumer.errors import ConfigurationError
from consumer.plan.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef" * 2
PSEUDONYMS = Pseudonyms(Secret(text=KEY))


@given(st.lists(st.none() | st.text(max_size=5), max_size=20))
def test_each_id_gives_its_hmac(ids: list[str | None]) -> None:
    """The standard library's HMAC-SHA-256 in hexadecimal; nobody stays nobody."""
    expected = [
        hmac.new(KEY.encode(), one.encode(), hashlib.sha256).hexdigest()
        if one
        else None
        for one in ids
    ]
    assert PSEUDONYMS.of(pl.Series(ids, dtype=pl.String)).to_list() == expected


def test_the_expression_is_evaluated_on_any_number_of_rows() -> None:
    """As one of a batch's columns, on none, one and several rows."""
    expression = PSEUDONYMS.expression(pl.col("id").str.to_lowercase())
    for ids in ([], ["Ann"], ["ANN", None, "bob"]):
        frame = pl.DataFrame({"id": pl.Series(ids, dtype=pl.String)})
        lowered = frame["id"].str.to_lowercase()
        found = frame.select(expression)["id"]
        assert found.to_list() == PSEUDONYMS.of(lowered).to_list()


def test_keys_are_told_apart_without_being_shown() -> None:
    """Fingerprints differ as keys do, and are no pseudonym of anything."""
    other = Pseudonyms(Secret(text=KEY[::-1]))
    assert PSEUDONYMS.fingerprint != other.fingerprint
    assert PSEUDONYMS.fingerprint == Pseudonyms(Secret(text=KEY)).fingerprint
    assert KEY not in PSEUDONYMS.fingerprint


def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    """The error names the setting and how a key is made, not the key."""
    file = tmp_path / "key"
    file.write_text("secret", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        _ = Pseudonyms(Secret(file=file)).key
    assert "purchases.pseudonym_key" in str(caught.value)
    assert "openssl rand -hex 32" in str(caught.value)
    assert '"secret"' not in str(caught.value)
