"""The embedded Kafka: it starts, keeps what it promised, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from consumer.errors import AddressInUse, SandboxError
from consumer.sandbox import jars
from consumer.sandbox.kafka import EmbeddedKafka
from consumer.sandbox.ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import TopicFactory

# Owns a broker, says where it is, and waits for its end.
_OWNER = """
import sys, time
from pathlib import Path
from consumer.sandbox.kafka import EmbeddedKafka
data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
with EmbeddedKafka(data=data) as broker:
    print(broker.pid, broker.port, broker.folder, flush=True)
    time.sleep(600)
"""


def _eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _create(broker: EmbeddedKafka, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=10)


def _produce(broker: EmbeddedKafka, topic: str, *values: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def _read(broker: EmbeddedKafka, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [record.value() for record in consumer.consume(count, timeout=10)]
    finally:
        consumer.close()


def test_a_transaction_is_read_when_it_is_committed_and_not_when_aborted(
    kafka: EmbeddedKafka, topic_factory: TopicFactory
) -> None:
    """Committed records are read, aborted ones are not: it is the real thing."""
    topic = topic_factory()
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, "aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, "committed")
    producer.commit_transaction(10)

    assert _read(kafka, topic, 1) == [b"committed"]


def test_topics_of_the_factory_are_empty_and_have_names_of_their_own(
    topic_factory: TopicFactory, admin: AdminClient
) -> None:
    """Two topics asked for by one name are two topics, as configured."""
    one = topic_factory("same", partitions=3)
    other = topic_factory("same", config={"cleanup.policy": "compact"})

    assert one != other
    assert len(admin.list_topics(one, timeout=10).topics[one].partitions) == 3


def test_nothing_is_left_after_leaving_the_context() -> None:
    """When the context is left, the process, the port and the folder are gone."""
    with EmbeddedKafka() as broker:
        pid, folder, port = broker.pid, broker.folder, broker.port
        assert pid
        assert _listens(port)
        assert folder.is_dir()

    assert not _alive(pid)
    assert not _listens(port)
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_owner_that_is_killed_leaves_no_broker_and_no_folder(
    number: signal.Signals,
) -> None:
    """However its owner ends, the broker and its temporary folder go with it."""
    command = [sys.executable, "-c", _OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pid, port, folder = owner.stdout.readline().split()
        assert _alive(int(pid))
        owner.send_signal(number)
        owner.wait(10)

    assert _eventually(lambda: not _alive(int(pid)))
    assert _eventually(lambda: not Path(folder).exists())
    assert not _listens(int(port))


def test_a_killed_supervisor_takes_the_broker_with_it() -> None:
    """A broker whose supervisor is killed ends too, and its owner can say so."""
    with EmbeddedKafka() as broker:
        pid = broker.pid
        assert pid
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        parent = int(status.split("PPid:")[1].split()[0])
        os.kill(parent, signal.SIGKILL)

        assert _eventually(lambda: not _alive(pid))
        assert broker.pid is None


def test_concurrent_starts_share_one_cache_and_have_ports_of_their_own() -> None:
    """Owners that start at once do not disturb each other."""
    command = [sys.executable, "-c", _OWNER]
    owners = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        ports = {owner.stdout.readline().split()[1] for owner in owners if owner.stdout}
        assert len(ports) == 2
        assert all(_listens(int(port)) for port in ports)
    finally:
        for owner in owners:
            owner.kill()
            owner.communicate()


def test_a_port_that_was_taken_meanwhile_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that loses the race for its port starts on another one."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        lost: int = taken.getsockname()[1]
        ports = [lost, *(free_port() for _ in range(3))]
        chosen = iter(ports)
        monkeypatch.setattr("consumer.sandbox.kafka.free_port", lambda: next(chosen))
        with EmbeddedKafka() as broker:
            assert broker.port == ports[2]
            assert "Address already in use" in broker.log_path.read_text("utf-8")


def test_a_fixed_port_that_is_taken_is_one_sentence() -> None:
    """Who asks for a port that is taken is told so, at once."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        with (
            pytest.raises(AddressInUse, match=f"Port {port} .* is taken"),
            EmbeddedKafka(port=port),
        ):
            pass


def test_a_broker_that_cannot_start_shows_its_log_and_leaves_nothing() -> None:
    """The error ends with the broker's own words, and the folder is gone."""
    broker = EmbeddedKafka(settings={"num.io.threads": "none"})

    with pytest.raises(SandboxError, match=r"(?s)Kafka .*num\.io\.threads"), broker:
        pass
    assert not broker.folder.exists()


@pytest.fixture
def cached_jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of this test with links to the jars, which exist."""
    original = jars.kafka_jars()[0].parent
    copy = tmp_path / "pos-consumer" / original.name
    copy.mkdir(parents=True)
    for jar in original.iterdir():
        (copy / jar.name).symlink_to(jar)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return copy


def test_a_jar_with_another_checksum_is_one_sentence_with_its_remedy(
    cached_jars: Path,
) -> None:
    """A jar that changed on disk stops the start, and the remedy names the folder."""
    broken = next(cached_jars.glob("kafka-clients-*.jar"))
    broken.unlink()
    broken.write_bytes(b"something else")

    with pytest.raises(SandboxError) as caught, EmbeddedKafka():
        pass
    assert str(caught.value) == (
        f"{broken.name} is not the jar whose checksum kafka.lock names. "
        f"Remove the folder {cached_jars}, then retry."
    )


def test_a_second_start_needs_neither_network_nor_resolver(
    cached_jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the jars in the cache, no connection is made and hardly a second used."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setitem(sys.modules, "jgo", None)
    started = time.process_time()

    assert len(jars.kafka_jars()) == len(jars.read_lock())
    assert time.process_time() - started < 1.0


def test_a_download_that_does_not_match_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives with another checksum leaves no folder that looks complete."""

    def resolve(jar: jars.LockedJar, repository: Path, _: object) -> Path:
        repository.mkdir(exist_ok=True)
        path = repository / jar.file_name
        path.write_bytes(b"altered on the way")
        return path

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_resolve", resolve)

    with pytest.raises(SandboxError, match="Nothing was kept"):
        jars.kafka_jars()
    assert [path.name for path in (tmp_path / "pos-consumer").iterdir()] == [
        "jars.lock"
    ]


def test_what_a_killed_download_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of a download that was killed is not taken for complete, and goes."""
    left = tmp_path / "pos-consumer" / "downloading-killed" / "complete"
    left.mkdir(parents=True)
    content = b"a jar"
    lock = tmp_path / "some.lock"
    checksum = hashlib.sha256(content).hexdigest()
    lock.write_text(f"# comment\n{checksum} {len(content)} group:name:1\n", "utf-8")

    def resolve(jar: jars.LockedJar, repository: Path, _: object) -> Path:
        repository.mkdir(exist_ok=True)
        path = repository / jar.file_name
        path.write_bytes(content)
        return path

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_resolve", resolve)

    (jar,) = jars.kafka_jars(lock)
    assert jar.name == "name-1.jar"
    assert jar.read_bytes() == content
    assert not left.exists()


def test_a_killed_or_stopped_broker_comes_back_on_its_port_with_its_records() -> None:
    """Acknowledged records are there after SIGKILL and after an orderly stop."""
    with EmbeddedKafka() as broker:
        port = broker.port
        _create(broker, "kept")
        _produce(broker, "kept", "before the kill")
        broker.kill()
        assert broker.pid is None
        assert not _listens(port)
        broker.restart()
        _produce(broker, "kept", "before the stop")
        broker.stop()
        assert broker.pid is None
        broker.restart()

        assert broker.port == port
        assert _read(broker, "kept", 2) == [b"before the kill", b"before the stop"]


def test_a_paused_broker_answers_nothing_until_it_is_resumed() -> None:
    """While it is paused requests time out; afterwards its records are there."""
    with EmbeddedKafka() as broker:
        _create(broker, "kept")
        _produce(broker, "kept", "before the pause")
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        admin.list_topics(timeout=10)
        broker.pause()
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=0.5)
        broker.resume()

        assert _read(broker, "kept", 1) == [b"before the pause"]
        broker.pause()  # a paused one ends as well


def test_a_given_data_folder_is_kept_and_can_be_opened_again(tmp_path: Path) -> None:
    """With `data`, topics outlive the broker, and another one opens them."""
    data = tmp_path / "data"
    with EmbeddedKafka(data=data) as broker:
        _create(broker, "kept")
        _produce(broker, "kept", "record")
    with EmbeddedKafka(data=data) as broker:
        assert _read(broker, "kept", 1) == [b"record"]


def test_the_command_says_its_address_and_ends_at_ctrl_c() -> None:
    """`sandbox kafka` prints where it answers and exits 0 when it is interrupted."""
    command = [sys.executable, "-m", "consumer", "sandbox", "kafka", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        sentence = process.stdout.readline()
        assert sentence.startswith(f"Apache Kafka answers at {HOST}:")
        port = int(sentence.split(":")[1].split()[0])
        assert _listens(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not _listens(port)
