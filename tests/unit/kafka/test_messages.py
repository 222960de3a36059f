"""Messages become columns, whatever their headers are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from consumer.kafka import messages

if TYPE_CHECKING:
    import pytest


def test_a_header_whose_name_is_no_text_costs_the_headers_of_its_record_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client raises for it, and must not be asked again: it would crash."""
    asked: list[str] = []

    def headers(message: str) -> list[tuple[str, bytes]]:
        asked.append(message)
        if message == "bad":
            raise SystemError
        return [(message, b"1")]

    monkeypatch.setattr(messages, "Message", SimpleNamespace(headers=headers))
    found = messages._heads(cast("Any", ["a", "bad", "b"]))
    assert found == [[("a", b"1")], None, [("b", b"1")]]
    assert asked == ["a", "bad", "b"]
