"""What a registry answers is a schema, none, or a reason to wait; never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from consumer.errors import RegistryUnreachable, SchemaError
from consumer.kafka.registry import Registry
from tests.contract.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '{"type": "record", "name": "P", "fields": [{"name": "a", "type": "long"}]}'


@pytest.fixture(name="server")
def _server() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        server.register("purchases-value", 7, TEXT)
        yield server


def test_schemas_are_found_by_id_and_by_subject(server: RegistryServer) -> None:
    """The text comes as it was registered, and the latest with its id."""
    registry = Registry(server.address)
    assert registry.schema(7) == TEXT
    assert registry.latest("purchases-value") == (7, TEXT)


def test_what_the_registry_does_not_know_is_none(server: RegistryServer) -> None:
    """Confluent's own "not found" is an answer, and asked for anew each time."""
    registry = Registry(server.address)
    assert registry.schema(8) is None
    assert registry.latest("other-value") is None
    server.register("other-value", 8, TEXT)
    assert registry.schema(8) == TEXT
    assert registry.latest("other-value") == (8, TEXT)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error_code": 40101, "message": "Unauthorized"}'),
        (403, b"<html>forbidden</html>"),
        (404, b"<html>some other server</html>"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, b"[]"),
        (429, b""),
        (500, b'{"error_code": 50001, "message": "Error in the backend"}'),
        (503, b""),
        (200, b"<html>please log in</html>"),
        (200, b""),
        (200, b"[]"),
    ],
)
def test_anything_else_is_retriable(
    server: RegistryServer, status: int, body: bytes
) -> None:
    """An outage, a refusal or a foreign page never means that there is no schema."""
    server.fails = status, body
    registry = Registry(server.address)
    for ask in (lambda: registry.schema(7), lambda: registry.latest("purchases-value")):
        with pytest.raises(RegistryUnreachable) as met:
            ask()
        assert met.value.retriable
        assert server.address in str(met.value)
    server.fails = None
    assert registry.schema(7) == TEXT


def test_a_registry_that_is_gone_is_retriable() -> None:
    """A refused connection is no answer either."""
    with RegistryServer() as server:
        registry = Registry(server.address)
    with pytest.raises(RegistryUnreachable):
        registry.schema(7)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"schemaType": "PROTOBUF"}, "PROTOBUF"),
        (
            {"references": [{"name": "Item", "subject": "item", "version": 1}]},
            "refers to other schemas",
        ),
    ],
)
def test_what_cannot_be_read_is_no_outage(
    server: RegistryServer, more: dict[str, Any], word: str
) -> None:
    """A schema of another kind is refused with words; waiting would not help."""
    server.register("purchases-value", 9, TEXT, **more)
    with pytest.raises(SchemaError, match=word):
        Registry(server.address).schema(9)
