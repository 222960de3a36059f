"""`topics` on a real broker: what it creates is what it planned, and nothing else."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from consumer.cli import main
from consumer.clock import SystemClock
from consumer.config import Settings, load_settings
from consumer.errors import TopicAbsent
from consumer.kafka.clients import wait_for_broker
from consumer.kafka.topics import TopicAdmin, TopicSpec, plan_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka

    Run = Callable[..., tuple[int, str, str]]

Topics = Any  # the fixture's protocol lives in conftest, which is not imported

CONFIG = """
application = "{application}"
[kafka]
"bootstrap.servers" = "{servers}"
[purchases]
topic = "{topic}"
[attributes.orders]
aggregate = "count"
[target]
client = "acme"
"""


def eventually(seen: Callable[[], object], expected: object) -> None:
    """Wait until the broker shows what its controller has done."""
    for _ in range(100):
        if seen() == expected:
            return
        time.sleep(0.1)
    assert seen() == expected


@pytest.fixture
def config(
    kafka: EmbeddedKafka, admin: AdminClient, topic_factory: Topics, tmp_path: Path
) -> Iterator[Path]:
    """A configuration with a purchases topic of three partitions, ours not created."""
    topic = topic_factory("purchases", partitions=3)
    path = tmp_path / "pos-consumer.toml"
    text = CONFIG.format(
        application=f"app-{topic}", servers=kafka.bootstrap, topic=topic
    )
    path.write_text(text, encoding="utf-8")
    purchases = TopicAdmin(load_settings(path))
    eventually(lambda: list(purchases.states([topic])), [topic])
    yield path
    ours = [n for n in admin.list_topics().topics if n.startswith(f"app-{topic}")]
    for deletion in (admin.delete_topics(ours) if ours else {}).values():
        deletion.result(timeout=10)


@pytest.fixture
def settings(config: Path) -> Settings:
    """The settings of that configuration."""
    return load_settings(config)


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """A way to run a `topics` command; returns exit code, output and errors."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def topics(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(config), "topics", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, captured.out, captured.err

    yield topics
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_a_broker_that_is_there_is_not_waited_for(settings: Settings) -> None:
    """Waiting ends with the first answer."""
    clock = SystemClock()
    before = clock.monotonic()
    await wait_for_broker(settings, clock, 30)
    assert clock.monotonic() - before < 5


def test_what_is_created_is_what_was_planned(settings: Settings) -> None:
    """After create the cluster has every topic with its partitions and settings."""
    admin = TopicAdmin(settings)
    specs, found = admin.plan()
    assert specs == plan_topics(settings, 3)
    assert {one.kind for one in found} == {"missing"}
    admin.create(specs)
    states = admin.states([spec.name for spec in specs])
    for spec in specs:
        state = states[spec.name]
        assert state.partitions == spec.partitions
        assert spec.config.items() <= state.config.items()
    assert admin.plan()[1] == []
    assert admin.require() == (3, [])


def test_creating_what_exists_changes_nothing(settings: Settings) -> None:
    """A second create, or one that raced, leaves topics as they are."""
    admin = TopicAdmin(settings)
    specs, _ = admin.plan()
    admin.create(specs)
    before = admin.states([spec.name for spec in specs])
    other = [TopicSpec(spec.name, 9, {"cleanup.policy": "delete"}) for spec in specs]
    admin.create(other)
    assert admin.states([spec.name for spec in specs]) == before


def test_an_absent_purchases_topic_is_said_at_once(settings: Settings) -> None:
    """The name is in the sentence, and looking for it did not create it."""
    absent = settings.purchases.model_copy(update={"topic": "no-such-topic"})
    other = settings.model_copy(update={"purchases": absent})
    for _ in range(2):
        with pytest.raises(TopicAbsent, match="no-such-topic"):
            TopicAdmin(other).plan()


def test_the_service_needs_all_topics(settings: Settings) -> None:
    """Missing topics are named together with the command that creates them."""
    with pytest.raises(TopicAbsent) as caught:
        TopicAdmin(settings).require()
    assert settings.topics.profiles in str(caught.value)
    assert settings.topics.rejected_rows in str(caught.value)
    assert "pos-consumer topics create" in str(caught.value)


def test_topics_that_were_changed_are_found(
    settings: Settings, admin: AdminClient
) -> None:
    """A delete policy and a partition too many are seen on the real cluster."""
    ours = TopicAdmin(settings)
    specs, _ = ours.plan()
    ours.create(specs)
    topics = settings.topics
    delete = ConfigEntry(
        "cleanup.policy",
        "compact,delete",
        incremental_operation=AlterConfigOpType.SET,
    )
    changed = admin.incremental_alter_configs(
        [
            ConfigResource(
                ResourceType.TOPIC, topics.profiles, incremental_configs=[delete]
            )
        ]
    )
    grown = admin.create_partitions([NewPartitions(topics.state, 4)])
    for future in [*changed.values(), *grown.values()]:
        future.result(timeout=10)
    eventually(
        lambda: {(one.topic, one.kind) for one in ours.require()[1]},
        {(topics.profiles, "cleanup"), (topics.state, "partitions")},
    )


def test_the_commands_print_and_create(run: Run, settings: Settings) -> None:
    """`plan` shows what is missing and how to make it, create makes it, once."""
    code, out, err = run("plan")
    assert (code, err) == (0, "")
    assert f"The topic {settings.topics.profiles} does not exist." in out
    assert "kafka-topics.sh --bootstrap-server" in out
    code, out, _ = run("create")
    assert code == 0
    assert out.count("Created ") == 6
    assert "All topics are there" in out
    code, out, _ = run("create", "--json")
    assert code == 0
    assert json.loads(out) == {"topics": [], "differences": []}
    code, out, _ = run("plan", "--json")
    assert [topic["partitions"] for topic in json.loads(out)["topics"]] == [
        *(3, 3, 3, 1, 3, 3)
    ]


def test_create_fails_where_an_existing_topic_is_wrong(
    run: Run, settings: Settings
) -> None:
    """A wrong topic is left alone and reported by the exit code."""
    wrong = TopicSpec(settings.topics.profiles, 2, {"cleanup.policy": "compact"})
    TopicAdmin(settings).create([wrong])
    code, out, _ = run("create")
    assert code == 1
    assert f"{settings.topics.profiles} has 2 partitions, it must have 3." in out
    assert out.count("Created ") == 5


def test_an_unreachable_broker_ends_in_one_sentence(
    run: Run, config: Path, kafka: EmbeddedKafka
) -> None:
    """The exit code is 1, with no traceback, after the stated time."""
    text = config.read_text(encoding="utf-8").replace(kafka.bootstrap, "127.0.0.1:9")
    config.write_text(text, encoding="utf-8")
    code, _, err = run("plan", "--startup-timeout", "1s")
    assert code == 1
    assert "No Kafka broker at 127.0.0.1:9 answered within 1 s" in err
    assert "Traceback" not in err
