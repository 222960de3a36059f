"""`dead-letters list` and `show` read a real topic, and leave it as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from confluent_kafka import Producer

from consumer.cli import main
from consumer.events.codecs import Codec
from consumer.events.dead_letters import to_record
from consumer.frames import DeadLetter, Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schemas" / "purchase.avsc"
CONFIG = """
[purchases]
topic = "purchases"
[kafka]
"bootstrap.servers" = "{bootstrap}"
[dead_letters]
topic = "{topic}"
[attributes.revenue]
aggregate = "sum"
of = "total_minor"
[target]
client = "acme"
"""
Place: TypeAlias = "tuple[str, int, int]"
# Reason, partition, and when it was refused, in seconds of 2026-01-01.
PLACES: list[Place] = [
    ("undecodable", 0, 10),
    ("undecodable", 0, 20),
    ("missing_visitor", 1, 30),
    ("undecodable", 1, 40),
]
MIDNIGHT = 1_767_225_600


@pytest.fixture
def config(
    kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path
) -> Iterator[Path]:
    """A configuration, and a topic with four dead letters, in transactions.

    One more transaction is rolled back and one stays open.
    """
    topic = topic_factory("dead-letters", partitions=2, config={"retention.ms": "-1"})
    (tmp_path / "schemas").mkdir()
    shutil.copy(SCHEMA, tmp_path / "schemas" / "7.avsc")
    record = Codec(SCHEMA.read_text(encoding="utf-8")).sample()[4]
    value = b"\0\0\0\0\x07" + record[5:-3]
    common = {"bootstrap.servers": kafka.bootstrap, "log_level": 3}
    producer = Producer({**common, "transactional.id": topic})
    producer.init_transactions(20)
    for place in PLACES:
        producer.begin_transaction()
        write(producer, topic, place, value)
        producer.commit_transaction(20)
    producer.begin_transaction()
    write(producer, topic, ("empty", 0, 50), b"")
    producer.flush(20)
    producer.abort_transaction(20)
    producer.begin_transaction()
    write(producer, topic, ("empty", 1, 50), b"")
    producer.flush(20)
    path = tmp_path / "pos-consumer.toml"
    text = CONFIG.format(bootstrap=kafka.bootstrap, topic=topic)
    path.write_text(text, encoding="utf-8")
    yield path
    producer.abort_transaction(20)
    producer.close()


def write(producer: Producer, topic: str, place: Place, value: bytes) -> None:
    """Produce one dead letter as the service does."""
    reason, partition, second = place
    purchases = Records(
        np.array([partition], np.int32),
        np.array([second], np.int64),
        np.array([MIDNIGHT * 1000], np.int64),
        [b"v1"],
        [value],
        lambda _row: [("trace", b"abc")],
    )
    letter = DeadLetter(0, reason, f"It was {reason}.", 7)
    key, whole, headers = to_record(letter, purchases, "purchases", "id", 10_000)
    at = (MIDNIGHT + second) * 1000
    producer.produce(topic, whole, key, partition, timestamp=at, headers=headers)


def run(
    capsys: pytest.CaptureFixture[str], config: Path, *arguments: str
) -> tuple[int, str, str]:
    """Run a command and return its exit code, output and errors."""
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "dead-letters", *arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, captured.out, captured.err


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], PLACES),
        (["--reason", "missing_visitor"], PLACES[2:3]),
        (["--partition", "0"], PLACES[:2]),
        (["--since", "2026-01-01T00:00:20Z"], PLACES[1:]),
        (["--until", "2026-01-01T00:00:20Z"], PLACES[:1]),
        (["--since", "1h"], []),
        (["--reason", "undecodable", "--partition", "1"], PLACES[3:]),
    ],
)
def test_the_export_is_what_was_committed_and_asked_for(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    filters: list[str],
    expected: list[Place],
) -> None:
    """`--json` prints an object a line: neither rolled back nor open transactions."""
    code, out, _ = run(capsys, config, "list", "--json", *filters)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [
        (one["reason"], one["partition"], one["origin"]["offset"]) for one in found
    ] == expected


def test_the_table_counts_and_an_example_can_be_shown(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`list` counts by reason; `show` tells origin, headers, fields and the rest."""
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = run(capsys, config, "list", "--examples", "1")
    assert code == 0
    counts = [line.split() for line in out.splitlines() if "0, 1" in line]
    assert counts[0][1:4] == ["undecodable", "│", "3"]
    assert out.count("It was undecodable.") == 1
    _, out, _ = run(capsys, config, "list", "--json", "--reason", "missing_visitor")
    one = json.loads(out)
    code, out, _ = run(capsys, config, "show", "1", str(one["offset"]))
    assert code == 0
    assert "purchases, partition 1, offset 30" in out
    assert "header trace" in out
    assert "payment_method = 'WALLET'" in out
    assert "Not decoded from items on" in out


def test_an_absent_dead_letter_or_topic_is_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not exist ends with exit code 1 and says where to look."""
    for place in (["0", "999"], ["9", "0"]):
        code, _, err = run(capsys, config, "show", *place)
        assert code == 1
        assert err.startswith("pos-consumer: There is no dead letter at partition")
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('topic = "dead-', 'topic = "no-'), encoding="utf-8")
    code, _, err = run(capsys, config, "list")
    assert code == 1
    assert "does not exist" in err
    assert "Traceback" not in err


def test_a_time_that_is_none_is_wrong_usage(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time without its offset could mean two things, and is refused."""
    for text in ("yesterday", "2026-01-01T00:00"):
        code, _, err = run(capsys, config, "list", "--since", text)
        assert code == 2
        assert "--since" in err
