"""What `init` guesses of records, from names, types and values."""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from consumer.commands.init import _check, _decoded, _format, _settings, _written
from consumer.events.avro_types import parse
from consumer.events.codecs import Codec
from consumer.events.survey import framed, guesses, inferred, leaves
from consumer.frames import Records

ROOT = Path(__file__).parents[3]
OWN = (ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8")
FOREIGN = (ROOT / "consumer/sandbox/purchases/receipt.avsc").read_text(encoding="utf-8")


def records(*values: bytes | None, key: bytes = b"k") -> Records:
    """Make records of values."""
    count = len(values)
    return Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        [key] * count,
        values,
    )


@pytest.mark.parametrize(
    ("value", "how"),
    [
        (b"\0\0\0\0\7abc", "prefix"),
        (b'{"a": 1}', "json"),
        (b'\0\0\0\0\1{"a": 1}', "json"),
        (b"\x02abc", "bare"),
        (b"{no json", "bare"),
    ],
)
def test_framing_is_told_from_the_bytes(value: bytes, how: str) -> None:
    """Most records decide; tombstones do not count."""
    found = framed(records(value, None, value, b"x"))
    assert found is not None
    assert found.how == how
    assert framed(records(None)) is None


def test_own_and_foreign_receipts_are_understood() -> None:
    """Nested fields, branches and decimals are named as expressions name them."""
    own = guesses(parse(OWN)[1], [])
    assert (own.event_id, own.visitor_id) == ("event_id", "visitor_id")
    assert (own.event_time, own.items, own.kind) == (
        "occurred_at",
        "items",
        "event_type",
    )
    assert (own.money, own.group) == ("total_minor", "category")
    of = parse(FOREIGN)[1]
    found = guesses(of, [])
    assert (found.event_id, found.visitor_id) == ("id", "customer.loyalty_id")
    assert (found.event_time, found.items, found.kind) == ("closed_at", "lines", "kind")
    assert found.money == "total"
    assert "paid.Cash.given" in dict(leaves(of))


@pytest.mark.parametrize(
    ("value", "unit"),
    [(1_700_000_000, "s"), (1_700_000_000_000, "ms"), (1_700_000_000_000_000, "us")],
)
def test_a_time_in_numbers_is_told_by_its_size(value: int, unit: str) -> None:
    """Only where all values agree, and the name is one of a time."""
    fields = [{"name": "n", "type": "long"}, {"name": "soldAt", "type": "long"}]
    of = parse(json.dumps({"type": "record", "name": "R", "fields": fields}))[1]
    found = guesses(of, [{"n": value, "soldAt": value}, {"n": 1, "soldAt": None}])
    assert (found.event_time, found.unit) == ("soldAt", unit)
    assert guesses(of, [{"soldAt": 5}]).event_time == ""


def test_columns_of_json_are_what_all_values_are() -> None:
    """What is mixed or always null is left out: a person has to say."""
    objects: list[dict[str, Any]] = [
        {"id": "a", "n": 1, "x": 1, "at": "2026-01-31T10:00Z", "on": "2026-01-31"},
        {"id": "b", "n": 2.5, "x": "y", "c": {"id": None, "v": True}, "z": None},
        {"l": [{"sku": "s"}, {"q": 2}], "e": []},
    ]
    assert inferred(objects) == {
        "id": "string",
        "n": "double",
        "at": "timestamp",
        "on": "date",
        "c": {"v": "boolean"},
        "l": [{"sku": "string", "q": "long"}],
    }


def drafted(purchases: dict[str, Any], found: Records) -> dict[str, Any]:
    """Write a configuration for records, and read it."""
    purchases = {"topic": "p", **purchases}
    how = framed(found)
    purchases |= _format(how, found)
    settings = _settings({}, purchases)
    of, sample = _decoded(settings, found)
    text = _written(settings, purchases, of, sample, found, client="acme", how=how)
    _check(text, Path("pos-consumer.toml"))
    return {"text": text, **tomllib.loads(text)}


def test_a_draft_is_a_configuration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is written loads and passes `check`; comments list the fields there are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7.avsc").write_text(OWN)
    values = [b"\0\0\0\0\7" + one[5:] for one in Codec(OWN).sample()]
    draft = drafted({"schemas": str(tmp_path)}, records(*values))
    assert draft["purchases"]["key"] == "other"
    assert draft["purchases"]["without_visitor"] == "filter"
    assert draft["attributes"]["orders"]["where"] == "event_type = 'SALE'"
    assert draft["attributes"]["favourite"]["by"] == "quantity"
    assert "#   total_minor" in draft["text"]
    assert capsys.readouterr().err == ""


def test_a_draft_quotes_what_sql_has_words_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A field named like a word of SQL is quoted, a decimal is not taken for cents."""
    monkeypatch.chdir(tmp_path)
    line = {
        "type": "record",
        "name": "Line",
        "fields": [{"name": "group", "type": "string"}],
    }
    decimal = {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 9,
        "scale": 2,
    }
    schema = json.dumps(
        {
            "type": "record",
            "name": "Receipt",
            "fields": [
                {"name": "receiptNo", "type": "string"},
                {"name": "userId", "type": "string"},
                {
                    "name": "closedAt",
                    "type": {"type": "long", "logicalType": "timestamp-micros"},
                },
                {"name": "gross", "type": decimal},
                {"name": "lines", "type": {"type": "array", "items": line}},
            ],
        }
    )
    (tmp_path / "7.avsc").write_text(schema)
    values = [b"\0\0\0\0\7" + one[5:] for one in Codec(schema).sample()]
    draft = drafted({"schemas": str(tmp_path)}, records(*values))
    assert draft["attributes"]["favourite"]["of"] == '"group"'
    assert "cents" not in draft["text"]
    assert capsys.readouterr().err == ""


OLDER: dict[str, Any] = {
    "type": "record",
    "name": "Bon",
    "fields": [
        {"name": "purchaseId", "type": "string"},
        {"name": "laden", "type": "string"},
        {"name": "karte", "type": "string"},
        {
            "name": "zeit",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {
            "name": "amount",
            "type": {
                "type": "bytes",
                "logicalType": "decimal",
                "precision": 8,
                "scale": 2,
            },
        },
    ],
}
NEWER = {
    **OLDER,
    "fields": [
        {"name": "orderId", "type": "string", "aliases": ["purchaseId"]},
        OLDER["fields"][1],
        {"name": "kunde", "type": "string", "aliases": ["karte"]},
        *OLDER["fields"][3:],
    ],
}


def by_old_and_new(folder: Path, *, keyed: bool) -> dict[str, Any]:
    """Draft for a topic of two versions, keyed by visitor or by store."""
    values: list[bytes | None] = []
    keys: list[bytes | None] = []
    for number, schema in ((7, OLDER), (8, NEWER)):
        (folder / f"{number}.avsc").write_text(json.dumps(schema))
        for place in range(10):
            out = io.BytesIO()
            names = {"purchaseId": f"r{place}", "orderId": f"r{place}"}
            who = {"karte": f"k{place}", "kunde": f"k{place}"}
            event = {**names, **who, "laden": "s", "zeit": 0, "amount": Decimal("1.25")}
            fastavro.schemaless_writer(out, fastavro.parse_schema(schema), event)
            values.append(b"\0" + number.to_bytes(4, "big") + out.getvalue())
            keys.append(f"k{place}".encode() if keyed else b"till 4")
    found = replace(records(*values), keys=keys)
    return drafted({"schemas": str(folder)}, found)


def test_a_visitor_of_no_known_name_is_told_by_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions are read as the newest, so that no field of theirs seems null."""
    monkeypatch.chdir(tmp_path)
    draft = by_old_and_new(tmp_path, keyed=True)
    assert draft["purchases"]["fields"]["visitor_id"] == "kunde"
    assert "# the keys of the records are these" in draft["text"]
    assert draft["purchases"]["key"] == "visitor"
    assert "without_visitor" not in draft["purchases"]
    assert draft["attributes"]["revenue"] == {"aggregate": "sum", "of": "amount"}
    assert "cents" not in draft["text"]


def test_where_no_field_is_the_visitor_a_person_has_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of how many have none."""
    monkeypatch.chdir(tmp_path)
    draft = by_old_and_new(tmp_path, keyed=False)
    assert draft["purchases"]["fields"]["visitor_id"] == "TODO"
    assert "without_visitor" not in draft["purchases"]


def test_a_draft_for_json_lists_its_columns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The types are inferred, and the draft passes `check` by them."""
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 1, 31, 10)  # noqa: DTZ001 - a text without an offset
    text = json.dumps(
        {
            "receipt no": "r1",
            "orderId": "o1",
            "customer": {"loyaltyId": "ann"},
            "soldAt": now.isoformat(),
            "amount": 12.5,
            "lines": [{"sku": "s", "category": "c", "quantity": 1}],
        }
    ).encode()
    draft = drafted({}, records(text, key=b"ann"))
    assert draft["purchases"]["key"] == "visitor"
    revenue = draft["attributes"]["revenue"]
    assert revenue["of"] == "CAST(amount AS DECIMAL(18, 2))"
    assert draft["purchases"]["columns"]["lines"][0]["quantity"] == "long"
    assert draft["purchases"]["fields"] == {
        "event_id": "orderId",
        "visitor_id": "customer.loyaltyId",
        "event_time": "soldAt",
        "items": "lines",
    }
    assert capsys.readouterr().err == ""
