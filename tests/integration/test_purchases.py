"""The purchase generator on a real broker."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from consumer.errors import BrokerUnreachable, SandboxError
from consumer.sandbox.purchases import SCHEMA, Kind, Spec, generate
from consumer.sandbox.purchases.foreground import run_purchases
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.read_back import read_back

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka.admin import AdminClient

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

SPEC = Spec(events=5_000, visitors=500, batch=2_000, poison=0.05)
FOREVER = {"retention.ms": "-1"}


def first(row: tuple[object, ...]) -> bytes:
    """Return a row's key."""
    assert isinstance(row[0], bytes)
    return row[0]


def test_the_topic_holds_what_was_generated(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """Keys, values, timestamps and each key's order survive, nothing comes twice."""
    topic = topic_factory("purchases", partitions=3, config=FOREVER)
    produced = produce(SPEC, bootstrap_servers=kafka.bootstrap, topic=topic)
    assert produced.events == SPEC.events
    records = list(read_back(kafka.bootstrap, topic))
    generated = [row[:3] for batch in generate(SPEC) for row in batch.rows()]
    read = [(r.key, r.value, r.timestamp_ms) for r in records]
    assert Counter(read) == Counter(generated)
    # Stable sorting: what is left to compare is the order within each key.
    assert sorted(read, key=first) == sorted(generated, key=first)
    places = [(r.partition, r.offset) for r in records]
    assert places == sorted(set(places))
    assert {r.partition for r in records} == {0, 1, 2}


def test_the_command_makes_topic_and_schema_and_says_what_it_did(
    kafka: EmbeddedKafka, admin: AdminClient, tmp_path: Path
) -> None:
    """An absent topic is created as asked; the table counts every kind."""
    out = io.StringIO()
    run_purchases(
        Spec(events=1_000),
        bootstrap_servers=kafka.bootstrap,
        topic="fresh-purchases",
        partitions=5,
        schemas=tmp_path,
        console=Console(file=out, width=200),
    )
    made = admin.list_topics("fresh-purchases", timeout=10).topics["fresh-purchases"]
    assert len(made.partitions) == 5
    assert (tmp_path / "1.avsc").read_text(encoding="utf-8") == SCHEMA
    assert "1,000 records" in out.getvalue()
    assert all(kind.value in out.getvalue() for kind in Kind)


def test_a_rate_is_kept(kafka: EmbeddedKafka, topic_factory: TopicFactory) -> None:
    """A thousand events at two thousand a second take half a second."""
    produced = produce(
        Spec(events=1_000),
        bootstrap_servers=kafka.bootstrap,
        topic=topic_factory("paced", config=FOREVER),
        rate=2_000,
    )
    assert 0.45 < produced.seconds < 5


def test_what_the_broker_refuses_is_said_so(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """Undelivered purchases are an error with their number, never a silent gap."""
    topic = topic_factory("small", config={**FOREVER, "max.message.bytes": "100"})
    with pytest.raises(SandboxError, match="were not delivered"):
        produce(Spec(events=100), bootstrap_servers=kafka.bootstrap, topic=topic)


def test_a_topic_that_would_delete_the_purchases_is_refused(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """Old timestamps in a topic with a short retention vanish; better not to begin."""
    topic = topic_factory("short", config={"retention.ms": "3600000"})
    with pytest.raises(SandboxError, match="keeps records for 1 hours"):
        produce(Spec(events=10), bootstrap_servers=kafka.bootstrap, topic=topic)


def test_no_broker_is_one_sentence_with_what_to_do() -> None:
    """The address and the command that starts a broker."""
    nobody = "127.0.0.1:1"
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1.* sandbox kafka"):
        produce(Spec(events=10), bootstrap_servers=nobody, topic="purchases")
