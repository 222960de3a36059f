"""A registry behind TLS and credentials, and a real one."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consumer.config.records import RegistrySettings
from consumer.errors import ConfigurationError, RegistryUnreachable
from consumer.events.registered import (
    DOWN_SECONDS,
    UNKNOWN_SECONDS,
    RegisteredSchemas,
)
from consumer.kafka.registry import Registry
from consumer.sandbox.registry import EmbeddedRegistry
from tests.contract.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = '{"type": "record", "name": "P", "fields": [{"name": "a", "type": "long"}]}'


@dataclass(frozen=True)
class Pair:
    """A self-signed certificate for 127.0.0.1, and its key."""

    certificate: Path
    key: Path


def pair(folder: Path, name: str) -> Pair:
    """Make a certificate that is good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    host = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def way(**settings: object) -> RegistrySettings:
    """Make `[purchases.registry]`."""
    return RegistrySettings.model_validate(settings)


def test_a_refused_password_is_read_anew(tmp_path: Path) -> None:
    """Basic authentication; a wrong password is a wait, and a rotated one ends it."""
    file = tmp_path / "password"
    file.write_text("old:with colon\n")
    allowed = "Basic " + base64.b64encode(b"till:new").decode()
    with RegistryServer(allowed=allowed) as server:
        server.register("purchases-value", 7, TEXT)
        settings = way(username="till", password={"file": str(file)})
        registry = Registry(server.address, settings)
        for _ in range(2):
            with pytest.raises(RegistryUnreachable, match="401"):
                registry.schema(7)
        file.write_text("new\n")
        assert registry.schema(7) == TEXT
        assert "new" not in repr(settings)


def test_a_bearer_token_is_read_for_each_call(tmp_path: Path) -> None:
    """Tokens are short-lived: the file is what counts now."""
    file = tmp_path / "token"
    file.write_text("first")
    with RegistryServer(allowed="Bearer first") as server:
        server.register("purchases-value", 7, TEXT)
        server.register("purchases-value", 8, TEXT)
        registry = Registry(server.address, way(token={"file": str(file)}))
        assert registry.schema(7) == TEXT
        server.allowed = "Bearer second"
        with pytest.raises(RegistryUnreachable):
            registry.schema(8)
        file.write_text("second")
        assert registry.schema(8) == TEXT


def test_tls_is_checked_in_both_directions(tmp_path: Path) -> None:
    """An unknown authority is no answer; ours, and our certificate, are."""
    ours, theirs = pair(tmp_path, "ours"), pair(tmp_path, "theirs")
    with RegistryServer(
        certificate=theirs.certificate, key=theirs.key, clients=ours.certificate
    ) as server:
        server.register("purchases-value", 7, TEXT)
        with pytest.raises(RegistryUnreachable):
            Registry(server.address).schema(7)
        with pytest.raises(RegistryUnreachable):
            Registry(server.address, way(ca_file=theirs.certificate)).schema(7)
        known = way(
            ca_file=theirs.certificate,
            certificate_file=ours.certificate,
            key_file=ours.key,
        )
        assert Registry(server.address, known).schema(7) == TEXT


@pytest.mark.parametrize(
    "settings",
    [
        {"username": "a"},
        {"password": "b"},
        {"username": "a", "password": "b", "token": "c"},
    ],
)
def test_half_credentials_are_refused(settings: dict[str, str]) -> None:
    """A user has a password; a token stands alone."""
    with pytest.raises((ConfigurationError, ValueError), match="expected"):
        way(**settings)


@pytest.fixture(scope="module", name="apicurio")
def _apicurio() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as server:
        yield server


def register(address: str, subject: str, text: str) -> int:
    """Register a schema, and return its id."""
    request = urllib.request.Request(  # noqa: S310 - a loopback address
        f"{address}/subjects/{subject}/versions",
        json.dumps({"schema": text}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        found: int = json.load(answer)["id"]
        return found


@pytest.mark.timeout(180)
def test_a_real_registry_answers_as_expected(
    apicurio: EmbeddedRegistry, tmp_path: Path
) -> None:
    """Schemas by id, the latest with its version, unknown ones; GUIDs it has not."""
    wider = TEXT.replace("]}", ', {"name": "b", "type": "long", "default": 0}]}')
    first = register(apicurio.address, "purchases-value", TEXT)
    second = register(apicurio.address, "purchases-value", wider)
    registry = Registry(apicurio.address)
    assert json.loads(registry.schema(first) or "") == json.loads(TEXT)
    latest = registry.latest("purchases-value")
    assert latest is not None
    assert latest[0] == second
    assert registry.version("purchases-value", second) == 2
    assert registry.schema(9_999) is None
    assert registry.latest("others-value") is None
    with pytest.raises(RegistryUnreachable, match="by GUID"):
        registry.schema(UUID(int=7))
    schemas = RegisteredSchemas(registry, "purchases-value", tmp_path / "cache")
    assert schemas.newest()[0] == second
    assert schemas.name(first) == f"Schema {first} (version 1 of purchases-value)"
    registry.close()


@pytest.mark.timeout(180)
def test_a_real_registry_that_hangs_or_is_late_is_told_from_one_that_says_no(
    apicurio: EmbeddedRegistry, tmp_path: Path
) -> None:
    """Unknown is an answer, and may change; no answer is none, and is waited out."""
    now = 0.0
    known = register(apicurio.address, "late-value", TEXT.replace('"a"', '"known"'))
    registry = Registry(apicurio.address)
    schemas = RegisteredSchemas(
        registry, "late-value", tmp_path / "late", monotonic=lambda: now
    )
    assert schemas.codec(known) is not None
    assert schemas.codec(known + 1) is None
    other = TEXT.replace('"a"', '"late"')
    assert register(apicurio.address, "late-value", other) == known + 1
    now += UNKNOWN_SECONDS
    assert schemas.codec(known + 1) is not None

    apicurio.pause()
    try:
        began = time.monotonic()
        with pytest.raises(RegistryUnreachable):
            schemas.codec(known + 2)
        with pytest.raises(RegistryUnreachable):
            schemas.codec(known + 3)
        assert time.monotonic() - began < 15.0
        assert schemas.codec(known) is not None
    finally:
        apicurio.resume()
    now += DOWN_SECONDS
    assert schemas.codec(known + 2) is None
    registry.close()
