"""A real broker, started once for all integration tests, and topics of their own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from consumer.sandbox.kafka import EmbeddedKafka, prepare
from tests.integration.shop import Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HERE = Path(__file__).parent


class TopicFactory(Protocol):
    """Makes an empty topic whose name nobody else has."""

    def __call__(
        self,
        name: str = "topic",
        *,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Create the topic and return its full name."""
        ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, so that `-m 'not integration'` leaves it out."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Kafka, once per user, outside of any test's time limit."""
    chosen = any(item.get_closest_marker("integration") for item in session.items)
    if chosen and not session.config.option.collectonly:
        prepare()


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A broker shared by all tests; who kills or pauses one starts its own."""
    with EmbeddedKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def admin(kafka: EmbeddedKafka) -> AdminClient:
    """An admin client of the shared broker."""
    return AdminClient({"bootstrap.servers": kafka.bootstrap})


@pytest.fixture(scope="session")
def _topic_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def topic_factory(
    admin: AdminClient, _topic_numbers: Iterator[int]
) -> Iterator[TopicFactory]:
    """Topics of this test alone, deleted after it."""
    made: list[str] = []

    def create(
        name: str = "topic",
        *,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> str:
        full_name = f"{name}-{next(_topic_numbers)}"
        topic = NewTopic(full_name, partitions, 1, config=dict(config or {}))
        admin.create_topics([topic])[full_name].result(timeout=10)
        made.append(full_name)
        return full_name

    yield create
    for deletion in (admin.delete_topics(made) if made else {}).values():
        try:
            deletion.result(timeout=10)
        except KafkaException as error:  # the test may have deleted it itself
            if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise


@pytest.fixture
def shop(kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path) -> Shop:
    """A shop whose topic has two partitions and keeps what is old."""
    topic = topic_factory("shop", partitions=2, config={"retention.ms": "-1"})
    return open_shop(kafka, topic, tmp_path)
