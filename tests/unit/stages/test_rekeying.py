"""Records keyed by anything to the same records keyed by visitor."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import polars as pl
import pytest

from consumer.config import Settings
from consumer.events.dead_letter_limits import DeadLetterLimits
from consumer.events.grace import SchemaGrace
from consumer.events.schemas import SchemaFolder
from consumer.frames import Outcome, Records, Tally
from consumer.plan.compile import compile_plan
from consumer.plan.pseudonyms import Pseudonyms
from consumer.stages.rekeying import Rekeying

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Purchase",
    "fields": [
        {"name": "event_id", "type": ["null", "string"]},
        {"name": "loyalty", "type": ["null", "string"]},
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
        },
        {"name": "amount", "type": "long"},
    ],
}
WITHOUT_AMOUNT = {**SCHEMA, "fields": SCHEMA["fields"][:3]}
PARSED = {
    2: fastavro.parse_schema(SCHEMA),
    1: fastavro.parse_schema(WITHOUT_AMOUNT),
}
KEY = "k" * 40
NO_TALLIES = {0: Tally()}


def settings_of(folder: Path, **purchases: Any) -> Settings:  # noqa: ANN401 - TOML
    """Configure a topic that is keyed by something else."""
    for schema_id, schema in ((2, SCHEMA), (1, WITHOUT_AMOUNT)):
        (folder / f"{schema_id}.avsc").write_text(json.dumps(schema), "utf-8")
    fields = {"visitor_id": "LOWER(TRIM(loyalty))"}
    return Settings.model_validate(
        {
            "purchases": {
                "topic": "receipts",
                "key": "other",
                "schemas": folder,
                "fields": fields,
                **purchases,
            },
            "target": {"client": "acme"},
            "attributes": {"revenue": {"aggregate": "sum", "of": "amount"}},
        }
    )


def rekeying(settings: Settings, largest: int = 10_000) -> Rekeying:
    """Compile it."""
    schemas = SchemaFolder(settings.purchases.schemas)
    plan = compile_plan(settings, schemas.newest()[1].sample_frame())
    return Rekeying(plan, schemas, largest_record=largest)


def purchase(
    loyalty: str | None, schema_id: int = 2, event_id: str | None = "e"
) -> bytes:
    """Write a purchase."""
    out = io.BytesIO()
    event = {"event_id": event_id, "loyalty": loyalty, "occurred_at": 0, "amount": 1}
    fastavro.schemaless_writer(out, PARSED[schema_id], event)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def batch(*values: bytes | None) -> Records:
    """Make records that are keyed by their till."""
    count = len(values)
    return Records(
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        [b"till-1"] * count,
        list(values),
    )


def test_each_record_goes_on_under_its_visitor(tmp_path: Path) -> None:
    """The visitor's expression is applied; the order stays."""
    found = rekeying(settings_of(tmp_path)).work(
        batch(purchase(" Ann"), purchase("BOB"), purchase("ann")), NO_TALLIES
    )
    assert found.keys == [b"ann", b"bob", b"ann"]
    assert found.rows == [0, 1, 2]
    assert not any(found.ended().values())


def test_what_is_wrong_beside_the_visitor_is_left_to_the_aggregate_stage(
    tmp_path: Path,
) -> None:
    """A record without an id, or whose schema lacks an attribute's field, goes on."""
    found = rekeying(settings_of(tmp_path)).work(
        batch(purchase("ann", event_id=None), purchase("bob", schema_id=1)), NO_TALLIES
    )
    assert found.keys == [b"ann", b"bob"]


def test_a_record_without_a_visitor_ends_here(tmp_path: Path) -> None:
    """Tombstones are filtered; what has no visitor or cannot be read is kept."""
    found = rekeying(settings_of(tmp_path)).work(
        batch(None, purchase(None), purchase(" "), b"", purchase("a+b"), purchase("c")),
        NO_TALLIES,
    )
    assert found.keys == [b"c"]
    assert found.ended() == {
        Outcome.FOLDED: 0,
        Outcome.DUPLICATE: 0,
        Outcome.FILTERED: 1,
        Outcome.DEAD_LETTERED: 4,
    }
    reasons = {one.row: one.reason for one in found.verdicts.dead_letters}
    assert reasons == {
        1: "missing_visitor",
        2: "missing_visitor",
        3: "empty",
        4: "invalid_visitor",
    }


def test_nothing_but_poison_makes_no_record(tmp_path: Path) -> None:
    """A batch may have no visitor at all."""
    found = rekeying(settings_of(tmp_path)).work(batch(None, b"\1"), NO_TALLIES)
    assert found.rows == []
    assert sum(found.ended().values()) == 2


def test_a_record_that_its_new_topic_would_refuse_is_kept(tmp_path: Path) -> None:
    """The broker's refusal would end every transaction from then on."""
    long_id, short_id = "x" * 200, "y"
    found = rekeying(settings_of(tmp_path), largest=500).work(
        batch(purchase(long_id), purchase(short_id)), NO_TALLIES
    )
    assert found.keys == [short_id.encode()]
    (letter,) = found.verdicts.dead_letters
    assert letter.reason == "record_too_large"


@pytest.mark.parametrize("visitor", ["Ann", "a+b/c"])
def test_with_pseudonyms_no_id_leaves_the_record(tmp_path: Path, visitor: str) -> None:
    """The key is the pseudonym of the id as the expression gives it, whatever it is."""
    settings = settings_of(tmp_path, pseudonym_key=KEY)
    found = rekeying(settings).work(
        batch(purchase(visitor), purchase(None)), NO_TALLIES
    )
    secret = settings.purchases.pseudonym_key
    assert secret is not None
    (expected,) = Pseudonyms(secret).of(pl.Series([visitor.lower()])).to_list()
    assert found.keys == [expected.encode()]
    assert found.verdicts.dead_letters[0].reason == "missing_visitor"


def test_too_many_dead_letters_halt_the_partition_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    """What lies before the one too many is written; the tally goes on over batches."""
    limits = DeadLetterLimits(in_a_row=2, ratio=1.0, window=1_000)
    settings = settings_of(tmp_path)
    schemas = SchemaFolder(settings.purchases.schemas)
    plan = compile_plan(settings, schemas.newest()[1].sample_frame())
    made = Rekeying(plan, schemas, largest_record=10_000, limits=limits)
    first = made.work(batch(purchase("ann"), b"x"), NO_TALLIES)
    assert first.tallies == {0: Tally(1, 2, 1)}
    second = made.work(batch(b"x", b"x", purchase("bob")), first.tallies)
    assert second.halts[0].reason == "too_many_dead_letters"
    assert len(second.records) == 1
    assert second.keys == []


def test_a_schema_that_is_waited_for_holds_what_is_behind_it(tmp_path: Path) -> None:
    """What lies before goes on."""
    settings = settings_of(tmp_path)
    schemas = SchemaFolder(settings.purchases.schemas)
    plan = compile_plan(settings, schemas.newest()[1].sample_frame())
    grace = SchemaGrace(60.0, lambda: 10.0)
    made = Rekeying(plan, schemas, largest_record=10_000, grace=grace)
    unknown = b"\0" + (99).to_bytes(4, "big") + b"abc"
    found = made.work(batch(purchase("ann"), unknown, purchase("bob")), NO_TALLIES)
    assert found.keys == [b"ann"]
    assert "schema 99" in found.waits[0]
