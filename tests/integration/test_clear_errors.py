"""What a user did wrong is said in one sentence with its remedy, and an exit code."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from consumer.sandbox.demo.work import Work, configure

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

NOWHERE = "127.0.0.1:9"  # the discard port: nothing listens


def made(
    folder: Path, *, bootstrap: str = NOWHERE, topic: str = "absent", more: str = ""
) -> Work:
    """A valid configuration, for the tests to spoil."""
    return configure(
        folder,
        bootstrap=bootstrap,
        endpoint="http://127.0.0.1:9",
        application="mistaken",
        topic=topic,
        more=more,
    )


def run(work: Work) -> subprocess.CompletedProcess[str]:
    """Run the service to its early end."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "consumer", "--config", str(work.config)),
            *("run", "--startup-timeout", "2s"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Give what was said last, after checking the code and that no traceback shows."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "pos-consumer: " in line]
    assert len(said) == 1, done.stderr
    return said[0]


def spoil(work: Work, right: str, wrong: str) -> None:
    """Replace one text of the configuration."""
    text = work.config.read_text(encoding="utf-8")
    assert right in text
    work.config.write_text(text.replace(right, wrong), encoding="utf-8")


def test_wrong_key_exits_78_and_suggests_the_right_one(tmp_path: Path) -> None:
    """A misspelt key is named with what is allowed."""
    work = made(tmp_path)
    spoil(work, "state_dir", "state_dri")
    assert "state_dir" in complaint(run(work), 78)


def test_expression_over_an_unknown_field_exits_78(tmp_path: Path) -> None:
    """An expression that the schema cannot serve is named with the schema's fields."""
    work = made(tmp_path)
    spoil(work, 'of = "store_id"\nwhere', 'of = "shop"\nwhere')
    said = complaint(run(work), 78)
    assert "attributes.last_store.of" in said
    assert "store_id" in said


def test_broken_schema_exits_78_and_names_the_file(tmp_path: Path) -> None:
    """A schema that is no Avro is named by its file."""
    work = made(tmp_path)
    (work.folder / "schemas" / "1.avsc").write_text("{}", encoding="utf-8")
    assert "1.avsc" in complaint(run(work), 78)


def test_unreachable_broker_exits_1_after_the_timeout(tmp_path: Path) -> None:
    """The address that was tried is named."""
    assert NOWHERE in complaint(run(made(tmp_path)), 1)


def test_absent_purchases_topic_exits_1_at_once(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """The absent topic is named."""
    work = made(tmp_path, bootstrap=kafka.bootstrap, topic="nobody-made-it")
    assert "nobody-made-it" in complaint(run(work), 1)


def test_our_absent_topics_exit_1_with_the_command_that_makes_them(
    kafka: EmbeddedKafka, topic_factory: TopicFactory, tmp_path: Path
) -> None:
    """The remedy is `pos-consumer topics create`."""
    topic = topic_factory("purchases")
    said = complaint(run(made(tmp_path, bootstrap=kafka.bootstrap, topic=topic)), 1)
    assert "pos-consumer topics create" in said


def test_occupied_port_exits_1_and_names_the_key(tmp_path: Path) -> None:
    """The port is named, and where to change it."""
    work = made(tmp_path)
    with socket.create_server(("127.0.0.1", work.port)):
        said = complaint(run(work), 1)
    assert str(work.port) in said
    assert "[http]" in said


@pytest.mark.parametrize("what", ["a file", "a second process"])
def test_unusable_state_directory_exits_1(tmp_path: Path, what: str) -> None:
    """A state directory that cannot be made, or is in use, is named with the key."""
    from consumer.profiles.directory import StateDirectory

    work = made(tmp_path)
    state = work.folder / "state"
    if what == "a file":
        state.write_text("", encoding="utf-8")
        said = complaint(run(work), 1)
    else:
        with StateDirectory(state, "mistaken"):
            said = complaint(run(work), 1)
    assert str(state) in said
    assert "state_dir" in said
