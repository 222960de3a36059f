"""Partitions that are assigned, as far as it goes without a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from consumer.config import Settings
from consumer.errors import PartitionHalt
from consumer.kafka.topics import Cluster
from consumer.profiles.directory import StateDirectory
from consumer.profiles.store import PartitionStore
from consumer.stages.lifecycle import Partitions
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = (0, 1)


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Iterator[StateDirectory]:
    with StateDirectory(tmp_path, "shop") as made:
        yield made


@pytest.fixture(name="partitions")
def _partitions(directory: StateDirectory) -> Iterator[Partitions]:
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases"},
            "target": {"client": "acme"},
            "attributes": {"orders": {"aggregate": "count"}},
        }
    )
    topics = settings.topics
    names = topics.purchases, topics.profiles, topics.state
    made = Partitions(
        settings,
        directory,
        Mock(committed=lambda _: {}),
        Mock(ends=lambda places: dict.fromkeys(places, 0)),
        cluster=Cluster(
            {name: f"id of {name}" for name in names},
            dict.fromkeys(names, len(BOTH)),
            {},
        ),
        metrics=Metrics(),
        board=StatusBoard(),
        agreement=Mock(),
        agenda=Mock(),
    )
    yield made
    made.close(BOTH)


def test_a_store_that_cannot_be_opened_halts_its_partition_alone(
    directory: StateDirectory, partitions: Partitions
) -> None:
    """The others are restored; the process goes on."""
    (directory.path / "partition-1").write_text("in the way")
    partitions.assign(BOTH)
    assert partitions.restoring.keys() == {0}
    assert partitions.halted[1].reason == "store_write_failed"


@pytest.mark.parametrize("write", ["note", "commit"])
def test_a_store_that_cannot_be_written_is_closed_when_its_partition_halts(
    directory: StateDirectory,
    partitions: Partitions,
    monkeypatch: pytest.MonkeyPatch,
    write: str,
) -> None:
    """LMDB opens a file once a process: it could not come back otherwise."""
    works = getattr(PartitionStore, write)

    def refuse(store: PartitionStore, *what: Any) -> None:  # noqa: ANN401 - as it is
        if store.path.name == "partition-1":
            raise PartitionHalt("store_write_failed")
        works(store, *what)

    monkeypatch.setattr(PartitionStore, write, refuse)
    partitions.assign(BOTH)
    assert partitions.restoring.keys() == {0}
    assert partitions.halted.keys() == {1}
    monkeypatch.undo()
    with directory.open(1) as store:
        assert store.count() == 0
