"""The peers: what they are built from, and how their profiles are read."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import fastavro

from bench.job import SCHEMA, Run
from bench.meter import Measured
from bench.peers import quix
from bench.peers.kafka_streams import STATE, dependencies, from_states, warm
from bench.recount import COLUMNS

if TYPE_CHECKING:
    import pytest

RUN = Run("", "localhost:1", "purchases", "peer")
SKUS = [{"sku": sku, "time": 7, "event": "e", "item": 0} for sku in ("b", "a")]


def test_the_quix_environment_is_pinned() -> None:
    """Every requirement has one version; Quix Streams is the release 3."""
    lines = quix.REQUIREMENTS.read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert any(pin.startswith("quixstreams==3.") for pin in pins)


def test_the_kafka_streams_project_is_pinned() -> None:
    """The same Kafka as the broker's; the compiler stays off the class path."""
    needed = dependencies("compile")
    assert ("org.apache.kafka", "kafka-streams", "4.4.0") in needed
    assert [artifact for _, artifact, _ in dependencies("provided")] == ["ecj"]
    assert "ecj" not in [artifact for _, artifact, _ in needed]


def test_a_kafka_streams_profile_is_read_into_the_recounts_columns() -> None:
    """What Profile.java writes by its schema, in any order of the units."""
    state = {
        "orders": 2,
        "returns": 1,
        "revenue": -3,
        "last_purchase": 5,
        "last_event": "e",
        "last_store": "s",
        "largest_order": 9,
        "units": [{"key": "b", "weight": 1}, {"key": "a", "weight": 12}],
        "skus": SKUS,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(STATE)), state)
    (row,) = from_states([b"v"], [out.getvalue()]).rows()
    assert row == ("v", 2, 1, -3, 5, "s", 9, "a:12,b:1", "b,a")


def test_a_quix_profile_is_read_into_the_recounts_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What quix_job.py writes as JSON."""
    profile = {
        "orders": 2,
        "returns": 1,
        "revenue": -3,
        "last": [5, "e"],
        "last_store": "s",
        "largest_order": 9,
        "units": {"b": 1, "a": 12},
        "skus": [[7, "e", 1, "b"], [7, "e", 0, "a"]],
    }
    told = {b"v": json.dumps(profile).encode()}
    monkeypatch.setattr(quix, "latest", lambda *_: told)
    (row,) = quix.quix_profiles(RUN).rows()
    assert row == ("v", 2, 1, -3, 5, "s", 9, "a:12,b:1", "b,a")
    assert len(row) == len(COLUMNS)


def test_quix_reads_times_as_numbers() -> None:
    """Nothing but the logical types is dropped from the schema."""
    plain = json.loads(quix.plain(SCHEMA))
    types = {field["name"]: field["type"] for field in plain["fields"]}
    assert types["occurred_at"] == {"type": "long"}
    assert list(types) == [field["name"] for field in json.loads(SCHEMA)["fields"]]


def test_kafka_streams_shows_its_better_half() -> None:
    """The figures are those of the warm half; the whole run's are kept beside."""
    half = {
        "second_half_events_per_s": 20.0,
        "second_half_cpu_s_per_million": 3.0,
    }
    found = warm(Measured(200, 20.0, 9.0, 5.0, half))
    assert found.events_per_s == 20
    assert found.cpu_s_per_million == 3
    assert found.detail["whole_events_per_s"] == 10
    assert found.detail["whole_cpu_s_per_million"] == 9
