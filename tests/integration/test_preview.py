"""`preview` reads the newest records of a real topic, and leaves no trace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from consumer.cli import main
from consumer.config import load_settings
from consumer.kafka.excerpt import Excerpt
from consumer.sandbox.purchases.generate import generate
from consumer.sandbox.purchases.spec import Spec

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

ROOT = Path(__file__).parents[2]
CONFIG = """
application = "{topic}"
[purchases]
topic = "{topic}"
[kafka]
"bootstrap.servers" = "{bootstrap}"
[attributes.orders]
aggregate = "count"
[attributes.skus]
aggregate = "recent"
from = "items"
of = "sku"
[target]
client = "acme"
"""


@pytest.fixture
def config(kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path) -> Path:
    """A configuration for an empty topic of two partitions."""
    topic = topic_factory("purchases", partitions=2, config={"retention.ms": "-1"})
    (tmp_path / "schemas").mkdir()
    shutil.copy(ROOT / "schemas" / "purchase.avsc", tmp_path / "schemas" / "1.avsc")
    path = tmp_path / "pos-consumer.toml"
    text = CONFIG.format(topic=topic, bootstrap=kafka.bootstrap)
    path.write_text(text, encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> str:
    """Run the command, which must succeed, and return its output."""
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "preview", *arguments])
    assert not ended.value.code
    return capsys.readouterr().out


def test_the_newest_records_are_worked_and_nothing_is_left_behind(
    config: Path,
    kafka: EmbeddedKafka,
    admin: AdminClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly as many records as asked for, and neither a group nor a topic is made."""
    assert "has no records yet" in run(capsys, config)
    topic = load_settings(config).topics.purchases
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 3})
    spec = Spec(events=300, visitors=40, seed=1, poison=0.1)
    for batch in generate(spec):
        for key, value, timestamp, _ in batch.rows():
            producer.produce(topic, value, key, timestamp=timestamp)
    assert producer.flush(10) == 0
    producer.close()

    found = json.loads(run(capsys, config, "--json", "--records", "200"))
    assert len(found["records"]) == 200
    outcomes = {one["outcome"] for one in found["records"]}
    assert outcomes >= {"folded", "dead_lettered"}
    assert found["header"] == "batch=thirdPartyId,orders,skus"
    assert all(one["line"].startswith(one["visitor"]) for one in found["profiles"])
    for partition in (0, 1):
        mine = [o["offset"] for o in found["records"] if o["partition"] == partition]
        assert mine == list(range(mine[0], mine[0] + len(mine)))

    monkeypatch.setenv("COLUMNS", "160")
    shown = run(capsys, config, "--records", "20")
    assert "20 records: " in shown
    assert found["header"] in shown
    groups = admin.list_consumer_groups().result(10).valid
    assert not [one for one in groups if topic in one.group_id]
    topics = admin.list_topics(timeout=10).topics
    assert [name for name in topics if name.startswith(topic)] == [topic]


def test_markers_of_transactions_do_not_make_a_preview_smaller(
    config: Path, kafka: EmbeddedKafka
) -> None:
    """Where every other offset is no record, as many are found all the same."""
    settings = load_settings(config)
    topic = settings.topics.purchases
    common = {"bootstrap.servers": kafka.bootstrap, "log_level": 3}
    producer = Producer({**common, "transactional.id": topic})
    producer.init_transactions(20)
    for number in range(12):
        producer.begin_transaction()
        producer.produce(
            topic, str(number).encode(), b"key", 0, timestamp=1000 - number
        )
        producer.commit_transaction(20)
    producer.close()
    with Excerpt(settings, topic) as excerpt:
        assert [*excerpt.newest(10).values] == [b"%d" % n for n in range(2, 12)]
        assert len(excerpt.newest(50)) == 12
